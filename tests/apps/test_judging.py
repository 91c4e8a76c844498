"""A run whose reward is a judge's word: one argument, kept with the run, and safe from kill -9."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.apps import cli
from robot_rl.apps.envs import make_env
from robot_rl.apps.judging import RewardName, load_judge_of
from robot_rl.errors import ConfigError
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.record import RunRecord
from robot_rl.replay.store import EpisodeStore
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.retraining import train_judge

TASK = "Come to rest at the goal."
SMALL = shlex.split(
    "--steps 200 --seed 3 --warmup-steps 80 --warmup-updates 10 --batch 16 --td3.width 16 "
    "--chooser.width 16 --refresh.steps 10 --refresh-every 100 --eval-every 0 "
    "--checkpoint-every 40 --eval-episodes 2 --videos 0"
)


def command(tiny, demos, base, out, *more):
    where = ["--env", tiny, "--demos", str(demos), "--base", str(base), "--out", str(out)]
    return ["train", *where, *SMALL, *more]


def killed_after(arguments, episodes, lines):
    """Run a command in another process, and kill it once a log has so many lines."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_rl", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(read_lines(episodes)) < lines:
        try:
            process.wait(timeout=0.01)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        from tiny_env import demonstrations  # pyright: ignore

        shown = demonstrations(make_env("gym:tiny_env:Tiny-v0"))
    demos = [Lesson(episode=demo, task=TASK, success=True) for demo in shown]
    model = EmbeddedCfg(steps=60, members=2, gap_s=1.0, done_last_s=0.0, doubt_last_s=0.0)
    made = train_judge(demos, TASK, model=model, detector=DetectorCfg(hold_s=0.0))
    return made.save(tmp_path_factory.mktemp("judge"))


@pytest.mark.parametrize("text", ["dense", "judge", "judge:", "sparse:runs/judge"])
def test_a_reward_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="must be sparse, or one of judge:DIR, detector:DIR"):
        RewardName.parse(text)


def test_a_folder_without_a_judge_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no judge"):
        RewardName.parse(f"judge:{tmp_path}").digest()


def test_a_judge_is_asked_in_the_words_that_it_was_trained_on(judge):
    assert load_judge_of(judge, "gym:tiny_env:Tiny-v0").task == TASK


@pytest.mark.parametrize("kind", ["judge", "detector", "naive"])
def test_one_argument_swaps_the_reward(tiny, tiny_demos, tiny_base, tmp_path, judge, kind):
    run = tmp_path / "run"
    asked = command(tiny, tiny_demos, tiny_base, run, "--reward", f"{kind}:{judge}")
    assert cli.main(asked) == 0
    record = RunRecord.read(run)
    assert record.config["reward"] == f"{kind}:{judge}" and len(record.config["judge"]) == 64
    said = [episode["label_source"] for episode in record.episodes]
    assert said and all(source.startswith("reward_model:embedded") for source in said)
    assert any("reward/trust" in row for row in record.metrics) == (kind != "detector")


def test_a_plain_run_says_nothing_of_judges(tiny, tiny_demos, tiny_base, tmp_path):
    assert cli.main(command(tiny, tiny_demos, tiny_base, tmp_path / "run")) == 0
    record = RunRecord.read(tmp_path / "run")
    assert not {"reward", "judge", "judging"} & set(record.config)
    assert "label_source" not in record.episodes[0]


def test_a_killed_run_goes_on_with_the_judge_it_began_with(
    tiny, tiny_demos, tiny_base, tmp_path, judge
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    more = ("--reward", f"judge:{judge}", "--resume")
    assert cli.main(command(tiny, tiny_demos, tiny_base, whole, *more)) == 0
    asked = command(tiny, tiny_demos, tiny_base, cut, *more)
    killed_after(asked, cut / "episodes.jsonl", 7)
    assert cli.main(asked) == 0
    for log in ("evals", "episodes", "metrics"):
        assert (cut / f"{log}.jsonl").read_bytes() == (whole / f"{log}.jsonl").read_bytes(), log


def test_another_judge_is_another_run(tiny, tiny_demos, tiny_base, tmp_path, judge, capsys):
    run = tmp_path / "run"
    assert cli.main(command(tiny, tiny_demos, tiny_base, run)) == 0
    again = command(tiny, tiny_demos, tiny_base, run, "--reward", f"judge:{judge}", "--resume")
    assert cli.main(again) != 0
    assert "another configuration" in capsys.readouterr().err


def test_two_processes_learn_from_the_same_judge_and_evaluate_by_the_truth(
    tiny, tiny_demos, tiny_base, tmp_path, judge, monkeypatch
):
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    run = tmp_path / "run"
    more = ("--reward", f"judge:{judge}", "--engine", "split", "--steps", "120")
    assert cli.main(command(tiny, tiny_demos, tiny_base, run, *more)) == 0
    record = RunRecord.read(run)
    with EpisodeStore.open(run / "episodes.zarr") as store:
        infos = store.infos()
    trained = [info for info in infos if "evaluation" not in info.facts]
    assert all(info.label_source.startswith("reward_model:embedded") for info in trained)
    judged = [info for info in infos if "evaluation" in info.facts]
    assert judged and all(info.label_source == "env" for info in judged)
    said = [(e["success"], e["label_source"]) for e in record.episodes]
    assert said == [(info.outcome == "success", info.label_source) for info in trained]


def test_a_judge_does_not_go_with_critics_that_know_another_reward(tiny, tmp_path, judge, capsys):
    asked = ["--reward", f"judge:{judge}", "--from", str(tmp_path)]
    with pytest.raises(SystemExit):
        cli.main(["train", "--env", tiny, *asked])
    assert "whose critics know another reward" in " ".join(capsys.readouterr().err.split())
