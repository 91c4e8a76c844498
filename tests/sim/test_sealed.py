"""Arrays in one file: what comes back, what is refused, and files of before."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.config import config_hash
from robot_rl.errors import DataError
from sim.identify.measurement import Measurement, load_measurement
from sim.sealed import load_sealed, save_sealed


@dataclass
class Box:
    """Something to be kept."""

    label: str
    content: np.ndarray

    @property
    def hash(self) -> str:
        return config_hash({"label": self.label, "content": self.content})


def save(path: Path, box: Box, version: int = 3) -> str:
    return save_sealed(path, box, {"label": box.label}, {"content": box.content}, version=version)


def load(path: Path) -> Box:
    def make(head: dict[str, Any], arrays: dict[str, np.ndarray]) -> Box:
        return Box(head["label"], arrays["content"])

    return load_sealed(path, "box", make, version=3)


def rewrite(path: Path, **changes: np.ndarray) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | changes)


BOX = Box("a", np.arange(6.0).reshape(2, 3))


def test_what_was_saved_comes_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.npz"
    assert save(path, BOX) == BOX.hash
    back = load(path)
    assert back.label == BOX.label
    np.testing.assert_array_equal(back.content, BOX.content)
    assert list(path.parent.iterdir()) == [path]


def test_edited_content_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    said = save(path, BOX)
    rewrite(path, content=BOX.content + 1)
    with pytest.raises(DataError, match=f"was edited: its content has hash .*, it says {said}"):
        load(path)


def test_another_format_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", BOX, version=4)
    with pytest.raises(DataError, match="has format 4, but this robot_rl reads 3"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("keep", [0, 1, 40, 400, -1])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="is no box that can be read"):
        load(path)
    save(path, BOX)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="is no box that can be read"):
        load(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_sealed(path, BOX, {}, {"content": BOX.content}, version=3)
    with pytest.raises(DataError, match=r"is no box: 'label'\. Is it something else"):
        load(path)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot save .*a\.npz"):
        save(tmp_path / "file" / "a.npz", BOX)


def test_a_measurement_of_before_is_read(tmp_path: Path) -> None:
    """Written as the first version did: head and arrays by name, in this order."""
    stamps = np.arange(0, 2, 0.05)
    wave = np.sin(stamps)[:, None]
    arrays = {"command_s": stamps, "command": wave, "state_s": stamps, "position": wave}
    arrays |= {"position_std": np.array([1e-4])}
    seal = config_hash({"channels": ("a",), "arrays": arrays})
    head = {"format": 1, "channels": ["a"], "source": "s", "facts": {}, "hash": seal}
    np.savez_compressed(tmp_path / "m.npz", head=np.array(json.dumps(head)), **arrays)
    found = load_measurement(tmp_path / "m.npz")
    assert isinstance(found, Measurement) and found.hash == seal
