import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import DataError, RobotRLError
from robot_rl.replay.assemble import content_of_trajectory
from robot_rl.replay.episode_files import write_content
from robot_rl.replay.verify import verify_episode, verify_store


@pytest.fixture
def episode(store, make_trajectory) -> Path:
    return store.folder(store.append(make_trajectory(steps=3)))


def test_a_sound_episode_has_no_findings(store, episode):
    assert verify_episode(store, episode.name) == []
    assert verify_episode(store, episode.name, decode=False) == []
    assert list(verify_store(store)) == []


def test_a_flipped_bit_in_any_data_file_is_found_and_named(store, episode, make_trajectory):
    for path in [p for p in episode.rglob("*") if p.is_file() and p.name != "zarr.json"]:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
        (finding,) = verify_episode(store, episode.name)
        array = path.parent.relative_to(episode)
        assert finding.severity == "error"
        assert f"{array} differs from its checksum" in finding.what
        with pytest.raises(DataError, match="differs from its checksum"):
            store.read(episode.name)
        path.write_bytes(whole)
    assert verify_episode(store, episode.name) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
def test_any_damaged_file_gives_a_clear_error_and_spares_the_others(
    store, episode, make_trajectory, damage
):
    other = store.append(make_trajectory(seed=1))
    for path in [p for p in episode.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2]}.get(damage, b"\xff{"))
        if path.parent.name in ("low", "cam", "wrist", "obs", "step"):
            with_groups = path.name == "zarr.json"  # inner groups carry nothing we read
            assert with_groups
        else:
            findings = verify_episode(store, episode.name)
            assert [f.severity for f in findings] == ["error"], path
            assert str(episode) in findings[0].what, path
            with pytest.raises(DataError):
                store.read(episode.name)
        assert store.read(other)
        assert other in [info.id for info in store.infos()]
        path.write_bytes(whole)
    assert verify_episode(store, episode.name) == []


def test_a_forged_shape_reserves_no_memory(store, episode):
    meta = episode / "low" / "step" / "reward" / "zarr.json"
    forged = json.loads(meta.read_text())
    forged["shape"] = [10**12]
    meta.write_text(json.dumps(forged))
    (finding,) = verify_episode(store, episode.name)
    assert "lacks bytes" in finding.what


def test_a_forged_path_in_the_attributes_is_refused(store, episode):
    meta = episode / "zarr.json"
    forged = json.loads(meta.read_text())
    forged["attributes"]["crc32"]["low/../../../../secret"] = 0
    meta.write_text(json.dumps(forged))
    with pytest.raises(DataError, match="cannot be read"):
        store.read(episode.name)


def _adopt_changed(store, make_trajectory, low=None, track=None) -> str:
    """Write an episode that passes its checksums, but was wrong when it was written."""
    made = make_trajectory(steps=3)
    content = content_of_trajectory(made, store.meta, uuid="f" * 32, t0_wall_ns=0)
    cameras = {"wrist": replace(content.cameras["wrist"], **(track or {}))}
    content = replace(content, low={**content.low, **(low or {})}, cameras=cameras)
    write_content(store.path / "episodes" / "ep_000050", content)
    return "ep_000050"


@pytest.mark.parametrize(
    ("low", "where", "what"),
    [
        ({"step/base": np.full((3, 2), np.nan, "f4")}, "low/step/base", "NaN"),
        ({"step/reward": np.zeros(2, "f4")}, "low/step/reward", "2 rows instead of 3"),
        ({"t_s": np.asarray([0, 0.1, 0.1, 0.2])}, "low/t_s", "stand still at row 2"),
        ({"t_s": np.asarray([0, 0.05, 0.1, 9.0])}, "low/t_s", "paused 8.900 s at row 3"),
        (
            {"step/control_source": np.asarray([0, 9, 0], "u1")},
            "low/step/control_source",
            "holds 9, which is no source",
        ),
    ],
)
def test_wrong_rows_are_found_and_named(store, make_trajectory, low, where, what):
    name = _adopt_changed(store, make_trajectory, low=low)
    (finding,) = verify_episode(store, name)
    assert finding.where == f"{name}/{where}"
    assert what in finding.what


@pytest.mark.parametrize(
    ("track", "where", "what"),
    [
        ({"t_host_ns": np.asarray([1, 2, 1, 3])}, "t_host_ns", "goes back at frame 2"),
        ({"frame_no": np.asarray([1, 2, 5, 6])}, "frame_no", "2 of 6 frames were lost"),
        ({"frame_no": np.asarray([1, 2, 3])}, "frame_no", "3 rows instead of 4"),
        ({"tick_frame": np.asarray([0, 1, 2, 4], "i4")}, "tick_frame", "within -1 and 3"),
        ({"tick_frame": np.asarray([-1, 0, 1, 2], "i4")}, "tick_frame", "no frame yet"),
        ({"frames": [b"\xff\xd8\xff"] * 4}, "png frame 0", "no start-of-frame"),
        ({"frames": [b"GIF8"] * 4}, "png frame 0", "neither JPEG nor PNG"),
    ],
)
def test_wrong_frames_are_found_and_named(store, make_trajectory, track, where, what):
    name = _adopt_changed(store, make_trajectory, track=track)
    finding = verify_episode(store, name, decode=False)[0]
    assert finding.where.endswith(where)
    assert what in finding.what


def test_a_png_that_claims_a_giant_image_is_not_decoded(store, make_trajectory):
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (2**31 - 1).to_bytes(4, "big") * 2
    name = _adopt_changed(store, make_trajectory, track={"frames": [head] * 4})
    with pytest.raises(RobotRLError, match="at most 8192"):
        store.read(name)


def test_copies_of_one_episode_in_a_store_are_found(store, episode):
    import shutil

    shutil.copytree(episode, episode.with_name("ep_000009"))
    (finding,) = verify_store(store)
    assert (finding.where, finding.severity) == ("ep_000009", "error")
