import subprocess
import sys

import numpy as np
import pytest

from robot_rl.apps.data import main
from robot_rl.errors import DataError
from robot_rl.replay.opening import open_or_create
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory


def _trajectory(seed: int, steps: int = 4) -> Trajectory:
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(steps, 2)).astype(np.float32)
    return Trajectory(
        obs={"state": rng.normal(size=(steps + 1, 3)).astype(np.float32)},
        executed=action,
        requested=action,
        reward=np.ones(steps, np.float32),
        terminated=True,
        success=seed % 2 == 0,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1) / 20,
        attrs={"task": "[peg]"},
    )


@pytest.fixture
def path(tmp_path):
    with EpisodeStore.create(tmp_path / "a.zarr", StoreMeta(robot="arm", control_hz=20)) as store:
        for seed in range(5):
            store.append(_trajectory(seed))
    return store.path


def _uuids(path) -> list[str]:
    return [info.uuid for info in EpisodeStore.open(path).infos()]


def test_info_shows_the_store_and_its_newest_episodes(path, capsys):
    assert main(["info", str(path), "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert "3 of 5 (60%)" in out
    assert "[peg]" in out
    assert "ep_000004" in out
    assert "ep_000002" not in out


def test_stats_show_ranges_by_component_and_success_by_task(path, capsys):
    assert main(["stats", str(path)]) == 0
    out = capsys.readouterr().out
    assert "obs/state[2]" in out
    assert "step/executed[1]" in out
    assert "4 / 4 / 4" in out


def test_verify_exits_0_if_sound_and_1_with_the_place_and_the_next_step_if_not(path, capsys):
    assert main(["verify", str(path)]) == 0
    assert "5 episodes checked: 0 errors, 0 warnings." in capsys.readouterr().out
    (chunk,) = (path / "episodes" / "ep_000003" / "low" / "step" / "reward").glob("c*")
    chunk.write_bytes(b"\0" * chunk.stat().st_size)
    assert main(["verify", str(path)]) == 1
    out = capsys.readouterr().out
    assert "1 errors" in out
    assert f"robot-rl data delete {path} ep_000003" in out
    assert main(["verify", str(path), "--episodes", "ep_000001"]) == 0


def test_delete_and_undo_are_inverse(path, capsys):
    before = _uuids(path)
    assert main(["delete", str(path), "ep_000001", "ep_000003"]) == 0
    assert "ep_000001, ep_000003" in capsys.readouterr().out
    assert _uuids(path) == [before[0], before[2], before[4]]
    assert main(["undo", str(path)]) == 0
    assert _uuids(path) == before
    assert main(["undo", str(path)]) == 0
    assert "the trash is empty" in capsys.readouterr().out


def test_split_then_merge_keeps_every_uuid_once(path, tmp_path, capsys):
    with EpisodeStore.open(path, mode="a") as store:
        store.label("ep_000001", "success", "human")
    a, b, out = (tmp_path / name for name in ("train.zarr", "val.zarr", "both.zarr"))
    args = ["--first", str(a), "--second", str(b), "--fraction", "0.6"]
    assert main(["split", str(path), *args]) == 0
    assert (len(_uuids(a)), len(_uuids(b))) == (3, 2)
    assert main(["merge", str(out), str(a), str(b)]) == 0
    assert main(["merge", str(out), str(path)]) == 0, "episodes already there are skipped"
    assert sorted(_uuids(out)) == sorted(_uuids(path))
    merged = {info.uuid: info for info in EpisodeStore.open(out).infos()}
    assert merged[_uuids(path)[1]].label_source == "human", "verdicts travel along"
    assert main(["verify", str(out)]) == 0
    only = ["--first", str(tmp_path / "x"), "--second", str(tmp_path / "y")]
    assert main(["split", str(path), *only, "--episodes", "ep_000004"]) == 0
    assert _uuids(tmp_path / "x") == [_uuids(path)[4]]


def test_a_split_that_fails_leaves_neither_part(path, tmp_path):
    args = ["--first", str(tmp_path / "x"), "--second", str(tmp_path / "x")]
    assert main(["split", str(path), *args]) == 2
    assert not (tmp_path / "x").exists()
    assert len(_uuids(path)) == 5


def test_stores_of_different_robots_are_not_merged(path, tmp_path, capsys):
    EpisodeStore.create(tmp_path / "b.zarr", StoreMeta(robot="leg", control_hz=20)).close()
    assert main(["merge", str(path), str(tmp_path / "b.zarr")]) == 2
    assert "robot is 'leg', but" in capsys.readouterr().err


def test_info_says_how_cameras_were_calibrated_and_two_calibrations_are_not_mixed(
    tmp_path, capsys
):
    stores = []
    for name, known in (("a.zarr", "0a1b2c3d4e5f"), ("b.zarr", "")):
        camera = CameraMeta(name="wrist", width_px=64, height_px=48, calibration=known)
        meta = StoreMeta(robot="arm", control_hz=20, cameras=(camera,))
        EpisodeStore.create(tmp_path / name, meta).close()
        stores.append((tmp_path / name, meta))
        assert main(["info", str(tmp_path / name)]) == 0
    said = capsys.readouterr().out
    assert "calibration 0a1b2c3d4e5f" in said and "not calibrated" in said
    assert main(["merge", str(stores[0][0]), str(stores[1][0])]) == 2
    words = "camera 'wrist' has calibration 'none', but '0a1b2c3d4e5f' in"
    assert words in " ".join(capsys.readouterr().err.split())
    open_or_create(*stores[0]).close()
    with pytest.raises(DataError, match=r"calibrated 0a1b2c3d4e5f, but .* calibrated never"):
        open_or_create(stores[0][0], stores[1][1])


def test_repair_lists_what_became_of_cut_off_recordings(path, capsys):
    with EpisodeStore.open(path, mode="a") as store:
        writer = store.begin({"task": "peg"})
        for k in range(3):
            writer.observe(float(k), {"state": np.zeros(3)})
            writer.step(np.zeros(2), np.zeros(2))
    assert main(["info", str(path)]) == 0
    assert "1 recordings open or cut off" in capsys.readouterr().out
    assert main(["repair", str(path)]) == 0
    assert "salvaged 2 steps" in capsys.readouterr().out
    assert len(_uuids(path)) == 6


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["delete", "{path}", "../../x"], "'../../x' is no episode id; ids look like ep_000123."),
        (["delete", "{path}", "ep_000077"], "has no episode ep_000077"),
        (["delete", "{path}"], "delete needs at least one episode id"),
        (["verify", "{path}", "--episodes", "ep_000077"], "has no episode ep_000077"),
        (["info", "{path}/nothing"], "is no folder. Check the path"),
        (["info", "{path}/episodes"], "is no episode store"),
        (
            ["split", "{path}", "--first", "a", "--second", "b", "--fraction", "2"],
            "within 0 and 1",
        ),
    ],
)
def test_wrong_use_exits_2_and_says_what_to_do(path, capsys, monkeypatch, args, message):
    monkeypatch.chdir(path.parent)
    assert main([arg.format(path=path) for arg in args]) == 2
    assert message in capsys.readouterr().err
    assert len(_uuids(path)) == 5


def test_the_module_runs_as_a_program(path):
    command = [sys.executable, "-m", "robot_rl.apps.data", "info", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ep_000000" in result.stdout
