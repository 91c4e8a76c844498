"""`robot-rl reward configure` and `finetune`: from a checkpoint to a taught judge."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from robot_rl.apps import cli
from robot_rl.apps.reward.data import load_judge
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.episodes import query_of

SMALL = ["--engine", "min_pixels=1024", "max_pixels=1024"]
SHORT = ["--train.steps", "4", "--train.batch", "2", "--train.checks", "1", "--train.lr", "0.01"]
SHORT += ["--train.held-out-share", "0.3"]


@pytest.fixture(scope="module")
def tiny_models():
    path = Path(__file__).parents[1] / "reward" / "vlm" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_models"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(tiny_models, tmp_path_factory):
    return tiny_models.qwen3(tmp_path_factory.mktemp("hf") / "qwen3")


def attempt(level, success=True, task="brighten"):
    """Frames that brighten from `level / 5` to `level`."""
    ramp = np.linspace(level / 5, level, 21).astype(np.uint8)
    frames = np.broadcast_to(ramp[:, None, None, None], (21, 32, 32, 3)).copy()
    rows = np.zeros((20, 1), np.float32)
    return Trajectory(
        obs={"state": np.zeros((21, 1), np.float32), "top": frames},
        executed=rows,
        requested=rows,
        reward=rows[:, 0],
        terminated=success,
        success=success,
        control_source=np.zeros(20, np.uint8),
        t_s=np.arange(21) * 0.1,
        attrs={"task": task, "label_source": "env"},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "light.zarr"
    camera = CameraMeta(name="top", width_px=32, height_px=32, codec="png")
    with EpisodeStore.create(
        path, StoreMeta(robot="lamp", control_hz=10.0, cameras=(camera,))
    ) as store:
        for level in (150, 200, 250):
            store.append(attempt(level))
        store.append(attempt(100, success=False))
    return path


def configured(kind, checkpoint, out, *more):
    command = ["reward", "configure", kind, "--checkpoint", str(checkpoint), "--out", str(out)]
    return cli.main([*command, *more, *([] if kind == "goal_baseline" else SMALL)])


@pytest.mark.parametrize("kind", ["grm", "roboreward", "lrm", "gvl", "logprob"])
def test_a_configured_judge_is_loaded_like_any_other(kind, checkpoint, tmp_path, capsys):
    assert configured(kind, checkpoint, tmp_path / "judge") == 0
    assert f"{kind} version 1" in capsys.readouterr().out
    judge, _ = load_judge(tmp_path / "judge")
    assert judge.kind == kind and judge.engine.cfg.folder == checkpoint.resolve()
    assert configured(kind, checkpoint, tmp_path / "judge") == 0
    assert load_judge(tmp_path / "judge")[0].version == 2


def test_a_judge_looks_at_an_episode_at_once(checkpoint, data, tmp_path, capsys):
    more = ("--set", "max_frames=4", "min_mass=0.0", "camera=top", "--look-at", str(data))
    assert configured("roboreward", checkpoint, tmp_path / "judge", *more) == 0
    told = capsys.readouterr().out
    assert "frame   20: progress 0." in told and "it said:" in told
    judge, _ = load_judge(tmp_path / "judge")
    assert (judge.cfg.max_frames, judge.cfg.camera) == (4, "top")


def test_images_and_texts_are_compared_by_a_checkpoint_of_their_own(
    tiny_models, data, tmp_path, capsys
):
    folder = tiny_models.clip(tmp_path / "clip")
    assert configured("goal_baseline", folder, tmp_path / "judge", "--look-at", str(data)) == 0
    assert "frame    0: progress" in capsys.readouterr().out


def test_a_server_is_configured_without_being_asked(tmp_path):
    command = ["reward", "configure", "grm", "--out", str(tmp_path), "--url", "http://gpu:8000/v1"]
    assert cli.main([*command, "--model", "grm-8b", "--engine", "timeout_s=5", "vllm=false"]) == 0
    row = json.loads((tmp_path / "judge.json").read_text())
    assert row["engine"] == "ServerCfg" and row["engine_cfg"]["model"] == "grm-8b"
    assert (row["engine_cfg"]["timeout_s"], row["engine_cfg"]["vllm"]) == (5.0, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give one of the two, a local directory or a server"),
        (["--url", "http://gpu:8000/v1"], "model is '', but must be a name"),
        (["--checkpoint", "/nowhere"], "/nowhere holds no checkpoint (no config.json)"),
        (["--checkpoint", "HERE", "--set", "angle=3"], "has unknown field(s) angle. Known: front"),
        (["--checkpoint", "HERE", "--set", "alpha"], "must be of the form name=value"),
        (["--checkpoint", "HERE", "--set", "alpha=-1"], "alpha is -1.0, but must be >= 0"),
        (["--checkpoint", "HERE", "--engine", "dtype=int4"], "unknown dtype 'int4'"),
        (["--url", "http://g/v1", "--model", "m", "--adapter", "x"], "give --checkpoint instead"),
    ],
)
def test_what_cannot_be_configured_is_said(checkpoint, tmp_path, capsys, options, words):
    given = [str(checkpoint) if part == "HERE" else part for part in options]
    try:
        code = cli.main(["reward", "configure", "grm", "--out", str(tmp_path / "judge"), *given])
    except SystemExit as error:  # tyro says so where an option contradicts another
        code = error.code
    told = capsys.readouterr()
    assert code == 2 and words in " ".join((told.err + told.out).replace("│", " ").split())
    assert not (tmp_path / "judge").exists()


def test_an_adapter_needs_a_judge_that_takes_one(checkpoint, tmp_path, capsys):
    assert configured("lrm", checkpoint, tmp_path / "judge", "--adapter", str(tmp_path)) == 2
    assert "takes no adapter of one name. Its settings are camera" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["grm", "roboreward"])
def test_a_judge_is_taught_by_an_adapter(kind, checkpoint, data, tmp_path, capsys):
    configured(kind, checkpoint, tmp_path / "judge")
    out = tmp_path / "taught"
    more = ["--hops.per-episode", "4"] if kind == "grm" else ["--counterfactual"]
    command = ["reward", "finetune", str(tmp_path / "judge"), str(data), "--out", str(out)]
    assert cli.main([*command, *SHORT, *more]) == 0
    told = capsys.readouterr().out
    assert "best_check" in told and "version 2" in told
    report = json.loads((out / "training.json").read_text())
    assert report["lessons"] > 0 < report["held_out"] and len(report["checks"]) == 1
    judge, _ = load_judge(out)
    assert judge.cfg.adapter == "trained" and judge.version == 2
    untaught, _ = load_judge(tmp_path / "judge")
    assert judge.model_id != untaught.model_id and untaught.cfg.adapter == ""
    episode = EpisodeStore.open(data).read("ep_000000")
    (found,) = judge.score([query_of(episode, "brighten", frames=np.array([0, 20]))])
    assert len(found) == 2 and judge.counts.failed == 0


def test_heads_are_taught_on_a_frozen_model(checkpoint, data, tmp_path, capsys):
    configured("robometer", checkpoint, tmp_path / "judge", "--set", "max_frames=4")
    out = tmp_path / "taught"
    command = ["reward", "finetune", str(tmp_path / "judge"), str(data), "--out", str(out)]
    heads = ["--heads.texts-per-episode", "1", "--heads.pairs", "2", "--heads.steps", "5"]
    assert cli.main([*command, *heads]) == 0
    judge, _ = load_judge(out)
    episode = EpisodeStore.open(data).read("ep_000000")
    (found,) = judge.score([query_of(episode, "brighten", frames=np.array([0, 10, 20]))])
    assert found.valid.any() and judge.cfg.heads == (out / "heads").resolve()


def test_what_cannot_be_taught_is_said(checkpoint, data, tmp_path, capsys):
    configured("gvl", checkpoint, tmp_path / "gvl")
    configured("grm", checkpoint, tmp_path / "grm")
    server = ["reward", "configure", "grm", "--out", str(tmp_path / "far"), "--model", "m"]
    cli.main([*server, "--url", "http://gpu:8000/v1"])
    state_only = tmp_path / "state.zarr"
    with EpisodeStore.create(state_only, StoreMeta(robot="lamp", control_hz=10.0)):
        pass
    out = tmp_path / "out"
    for judge, store, more, words in (
        ("gvl", data, [], "only grm, roboreward, robometer can be taught"),
        ("far", data, [], "asks a server, whose weights are not here"),
        ("grm", data, ["--counterfactual"], "counterfactual is for roboreward"),
        ("grm", state_only, [], "no episode has images and an outcome"),
        ("nothing", data, [], "is no saved judge"),
    ):
        command = ["reward", "finetune", str(tmp_path / judge), str(store), "--out", str(out)]
        capsys.readouterr()
        assert cli.main([*command, *more]) == 2
        assert words in capsys.readouterr().err
    command = ["reward", "finetune", str(tmp_path / "grm"), str(data)]
    assert cli.main([*command, "--out", str(tmp_path / "grm")]) == 2
    assert "holds a judge, which is not written over" in capsys.readouterr().err
