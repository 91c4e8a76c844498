"""Training leaves what it promises, goes on bit for bit after kill -9, refuses what misfits."""

import os
import random
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from robot_rl.apps import cli, train
from robot_rl.apps.envs import make_env
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.record import RunRecord
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.saved import load_policy, save_policy

SMALL = shlex.split(
    "--steps 240 --seed 3 --warmup-steps 80 --warmup-updates 10 --batch 16 --td3.width 16 "
    "--chooser.width 16 --refresh.steps 10 --refresh-every 100 --eval-every 100 "
    "--checkpoint-every 40 --eval-episodes 4 --videos 0"
)


def command(tiny, demos, base, out, *more):
    where = ["--env", tiny, "--demos", str(demos), "--base", str(base), "--out", str(out)]
    return ["train", *where, *SMALL, *more]


def killed_after(arguments, episodes: Path, lines: int) -> None:
    """Run a command in another process, and kill it once a log has so many lines."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_rl", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and len(read_lines(episodes)) < lines:
        try:
            process.wait(timeout=0.01)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGKILL)
    _, words = process.communicate()
    assert process.returncode == -signal.SIGKILL, words.decode()


def test_a_killed_run_goes_on_to_the_bit_identical_end(tiny, tiny_demos, tiny_base, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert cli.main(command(tiny, tiny_demos, tiny_base, whole)) == 0
    lines = random.Random(os.getpid()).randint(4, 15)
    asked = command(tiny, tiny_demos, tiny_base, cut, "--resume")
    killed_after(asked, cut / "episodes.jsonl", lines)
    assert RunRecord.read(cut).state == "killed"
    assert cli.main(asked) == 0
    for log in ("evals", "episodes", "metrics"):
        assert (cut / f"{log}.jsonl").read_bytes() == (whole / f"{log}.jsonl").read_bytes(), log
    last = [max((run / "checkpoints").iterdir()) for run in (whole, cut)]
    assert last[0].name == last[1].name
    for file in ("tensors.safetensors", "arrays.safetensors"):
        there, here = (load_file(folder / file) for folder in last)
        assert there.keys() == here.keys()
        for name in there:
            np.testing.assert_array_equal(here[name], there[name], err_msg=f"{lines}: {name}")
    heads = [(run / "policy" / "policy.json").read_text() for run in (whole, cut)]
    assert heads[0] == heads[1]


def test_a_finished_run_that_is_resumed_learns_nothing_more(
    tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    run = tmp_path / "run"
    asked = command(tiny, tiny_demos, tiny_base, run, "--resume")
    assert cli.main(asked) == 0
    first = capsys.readouterr().out
    logs = {name: (run / f"{name}.jsonl").read_bytes() for name in ("evals", "episodes")}
    assert cli.main(asked) == 0
    assert capsys.readouterr().out == first
    assert logs == {name: (run / f"{name}.jsonl").read_bytes() for name in logs}


def test_what_was_deployed_is_saved_and_measures_the_same(
    tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    run = tmp_path / "run"
    assert cli.main(command(tiny, tiny_demos, tiny_base, run, "--videos", "1")) == 0
    record = RunRecord.read(run)
    assert record.state == "finished"
    assert record.evals[0]["policy"] == "base" and record.evals[0]["step"] == 0
    last = record.evals[-1]
    assert (run / "report.html").exists() and len(list((run / "videos").glob("*.webm"))) == 1
    assert cli.main(["eval", str(run), "--episodes", "4", "--out", str(tmp_path / "again")]) == 0
    outcomes = [
        line.split()[1] == "success" for line in capsys.readouterr().out.splitlines()[-6:-2]
    ]
    assert outcomes == last["successes"]
    more = command(tiny, tiny_demos, run, tmp_path / "next", "--steps", "100")
    assert cli.main(more) == 0  # what was learned is a base as good as any


@pytest.mark.parametrize("method", ["fast", "filtered-bc", "ibrl", "base"])
def test_every_method_with_a_base_runs(method, tiny, tiny_demos, tiny_base, tmp_path):
    run = tmp_path / "run"
    asked = command(tiny, tiny_demos, tiny_base, run, "--method", method, "--steps", "120")
    assert cli.main(asked) == 0
    assert load_policy(run / "policy").chunk >= 1


def test_without_a_base_it_learns_from_scratch(tiny, tiny_demos, tmp_path):
    with_demos = ["--demos", str(tiny_demos), "--method", "rlpd"]
    for name, more in {"td3": [], "rlpd": with_demos}.items():
        out = ["--out", str(tmp_path / name)]
        asked = ["train", "--env", tiny, *SMALL, *more, *out, "--steps", "120"]
        assert cli.main(asked) == 0
        first = RunRecord.read(tmp_path / name).evals[0]
        assert (first["step"], first["policy"]) == (0, "residual")
        assert load_policy(tmp_path / name / "policy").chunk == 1


def test_with_demonstrations_alone_a_base_is_cloned_once(tiny, tiny_demos, tmp_path):
    run = tmp_path / "run"
    cloning = shlex.split("--bc.steps 20 --bc.checks 1 --bc.members 2 --bc.width 16 --bc.chunk 4")
    where = ["--env", tiny, "--demos", str(tiny_demos), "--out", str(run)]
    asked = ["train", *where, *SMALL, *cloning, "--steps", "100", "--resume"]
    assert cli.main(asked) == 0
    first = RunRecord.read(run).evals[0]
    assert (first["step"], first["policy"]) == (0, "base")
    stamp = (run / "base" / "policy.json").stat().st_mtime_ns
    assert cli.main(asked) == 0
    assert (run / "base" / "policy.json").stat().st_mtime_ns == stamp


def test_a_methods_preset_gives_way_to_what_the_user_says():
    assert train.preset(["--method", "fast", "--base", "b"]).learn.always == "residual"
    assert train.preset(["--base", "b"]).learn.candidates[0] == "base"
    scratch = train.preset(["--env", "peg"]).learn
    assert scratch.demo_fraction == 0 and not scratch.td3.add_base
    assert train.preset(["--demos", "d"]).learn.candidates[0] == "base"


def test_options_are_found_in_the_saved_configuration(tiny, tiny_demos, tiny_base, tmp_path):
    more = ("--method", "fast", "--scale", "0.3", "--td3.critics", "3", "--steps", "90")
    assert cli.main(command(tiny, tiny_demos, tiny_base, tmp_path / "run", *more)) == 0
    learn = RunRecord.read(tmp_path / "run").config["learn"]
    assert (learn["scale"], learn["always"]) == (0.3, "residual")
    assert (learn["td3"]["critics"], learn["td3"]["width"]) == (3, 16)


def error_of(arguments, capsys) -> str:
    """The one line that a command which is refused says."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in said.err
    return lines[0]


def test_what_does_not_fit_is_refused_before_a_run_begins(
    tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    out = tmp_path / "run"
    rows = np.random.default_rng(0).uniform(-1, 1, (20, 6)).astype(np.float32)

    def ensemble(state, action):
        norm = Normaliser.fit(rows[:, :state], rows[:, :action])
        return ChunkEnsemble.fresh(norm, chunk=2, members=1, hidden=(8, 8), seed=0)

    def error(demos=tiny_demos, base=tiny_base, more=(), env=tiny):
        return error_of(command(env, demos, base, out, *more), capsys)

    bad = {
        "state": save_policy(ensemble(3, 1), tmp_path / "wide"),
        "action": save_policy(ensemble(2, 3), tmp_path / "long"),
    }
    assert "does not fit the environment: observation: state has shape (2,)" in error(
        base=bad["state"]
    )
    assert "plans actions of shape (3,), but the environment takes (1,)" in error(
        base=bad["action"]
    )
    assert "holds no policy" in error(base=tmp_path / "nowhere")
    assert "is no folder" in error(demos=tmp_path / "nowhere")
    assert "unknown task 'pge'. Available: " in error(env="pge")
    assert "has 10 evaluation seeds" in error(more=["--eval-episodes", "11"])
    pendulum = error(env="gym:Pendulum-v1", more=["--no-sparse"])
    assert "does not fit the environment" in pendulum
    needs = ["train", "--env", tiny, "--method", "fast", "--out", str(out)]
    assert "method 'fast' needs a base" in error_of([*needs, "--eval-episodes", "4"], capsys)
    dense = ["train", "--env", "gym:tiny_env:TinyDense-v0", *SMALL, "--out", str(out)]
    assert "Add --no-sparse" in error_of(dense, capsys)
    assert not out.exists()


def test_nan_from_the_base_ends_the_run_and_says_so(tiny, tiny_demos, tiny_base, tmp_path, capsys):
    base = load_policy(tiny_base)
    base.net.flat.fill_(float("nan"))
    broken = save_policy(base, tmp_path / "nan")
    asked = command(tiny, tiny_demos, broken, tmp_path / "run")
    assert "plan is not finite" in error_of(asked, capsys)


def test_nan_in_the_middle_of_a_run_stops_it_and_keeps_what_was_learned(
    tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    run = tmp_path / "run"
    env = tiny.replace("Tiny-v0", "TinySick-v0")
    asked = command(env, tiny_demos, tiny_base, run)
    assert "observation: state is not finite" in error_of(asked, capsys)
    record = RunRecord.read(run)
    assert record.state == "failed" and "not finite" in record.status["reason"]
    assert record.episodes and list((run / "checkpoints").glob("step_*"))


def test_a_checkpoint_of_another_version_is_refused_and_stays(
    tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    run = tmp_path / "run"
    asked = command(tiny, tiny_demos, tiny_base, run, "--steps", "100")
    assert cli.main(asked) == 0
    file = max((run / "checkpoints").iterdir()) / "state.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 99'))
    kept = {f: f.read_bytes() for f in run.rglob("*") if f.is_file() and f.name != "status.json"}
    assert "has version 99, but this robot_rl reads version 1" in error_of(
        [*asked, "--resume"], capsys
    )
    assert "holds a run of this configuration already" in error_of(asked, capsys)
    assert "seed: 3 -> 4" in error_of([*asked, "--seed", "4", "--resume"], capsys)
    assert all(f.read_bytes() == data for f, data in kept.items())


def test_a_missing_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sim.tasks", None)
    asked = ["train", "--env", "peg", "--out", str(tmp_path / "run")]
    assert "pip install 'robot-rl[sim]'" in error_of(asked, capsys)


def test_actions_of_other_ranges_are_rescaled(tiny):
    env = make_env(tiny)
    assert (env.action_space.low, env.action_space.high) == (-1, 1)
    env.reset(seed=0)
    before = env.unwrapped.at
    env.step(np.ones(1, np.float32))
    assert env.unwrapped.at - before - env.unwrapped.drift == pytest.approx(0.2)
