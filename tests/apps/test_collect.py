"""Demonstrations land in the store, successes only, and nothing there is ever overwritten."""

import numpy as np
import pytest

from robot_rl.apps import cli
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import CONTROL_SOURCES

demonstrator = pytest.importorskip("sim.tasks.demonstrator", reason="pip install 'robot-rl[sim]'")


def asked(out, *more):
    return ["collect", "--env", "reach", "--out", str(out), *more]


def seeds_in(path):
    with EpisodeStore.open(path) as store:
        return [info.facts["seed"] for info in store.infos()]


def test_episodes_are_kept_and_more_are_added(tmp_path, capsys):
    path = tmp_path / "reach.zarr"
    assert cli.main(asked(path, "--episodes", "2")) == 0
    assert "kept 2 of 2 attempts, 0 failed" in capsys.readouterr().out
    with EpisodeStore.open(path) as store:
        first = next(iter(store))
        assert store.meta.notes["task"] == "reach"
    assert first.success and first.terminated and first.base is None
    assert first.attrs["task"] == "reach"
    assert (first.control_source == CONTROL_SOURCES.index("scripted")).all()
    assert np.abs(first.executed).max() <= 1 + 1e-4
    assert cli.main(asked(path, "--episodes", "1", "--append")) == 0
    assert seeds_in(path) == [700_000, 700_001, 700_002]


def test_a_store_that_is_there_is_refused_and_stays(tmp_path, capsys):
    path = tmp_path / "reach.zarr"
    assert cli.main(asked(path, "--episodes", "1")) == 0
    assert cli.main(asked(path, "--episodes", "1")) == 2
    assert "exists already. Add to it by --append" in capsys.readouterr().err
    assert cli.main(["collect", "--env", "push", "--out", str(path), "--append"]) == 2
    assert "Give another --out" in capsys.readouterr().err
    assert seeds_in(path) == [700_000]


def test_failures_are_counted_and_left_out(tmp_path, capsys, monkeypatch):
    act, reset = demonstrator.Demonstrator.act, demonstrator.Demonstrator.reset

    def reset_and_note(self, seed):
        self.lazy = seed % 2 == 0
        reset(self, seed)

    monkeypatch.setattr(demonstrator.Demonstrator, "reset", reset_and_note)
    monkeypatch.setattr(
        demonstrator.Demonstrator,
        "act",
        lambda self, state: act(self, state) * (0.0 if self.lazy else 1.0),
    )
    assert cli.main(asked(tmp_path / "a", "--episodes", "2")) == 0
    assert "kept 2 of 4 attempts, 2 failed (seeds 700000, 700002)" in capsys.readouterr().out
    assert seeds_in(tmp_path / "a") == [700_001, 700_003]
    assert cli.main(asked(tmp_path / "b", "--episodes", "2", "--keep-failures")) == 0
    with EpisodeStore.open(tmp_path / "b") as store:
        assert [episode.success for episode in store] == [False, True]


def test_what_cannot_be_collected_says_why(tmp_path, capsys, tiny):
    for env, words in {"pge": "unknown task 'pge'", tiny: "has no scripted expert"}.items():
        assert cli.main(["collect", "--env", env, "--out", str(tmp_path / "x")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "x").exists()
