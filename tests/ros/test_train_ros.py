"""Learning on the graph: twin and arm bridge as nodes, the actor and its learner as processes."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros"), pytest.mark.slow]

from robot_rl.apps import collect  # noqa: E402
from robot_rl.apps.envs import load_demos  # noqa: E402
from robot_rl.learn.bc import BCCfg, fit  # noqa: E402
from robot_rl.learn.jsonl import read_lines  # noqa: E402
from robot_rl.learn.record import RunRecord  # noqa: E402
from robot_rl.learn.split import SplitFolder  # noqa: E402
from robot_rl.policy.saved import save_policy  # noqa: E402
from robot_rl.replay.store import EpisodeStore  # noqa: E402

ROBOT = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"
TRAIN_S = 240.0
SMALL = shlex.split(
    "--steps 250 --max-lag 2 --warmup-steps 100 --warmup-updates 20 --batch 32 --utd 1 "
    "--td3.width 32 --chooser.width 32 --refresh.steps 20 --refresh-every 100 --eval-every 0 "
    "--checkpoint-every 50 --eval-episodes 1"
)


@pytest.fixture
def materials(tmp_path):
    """Demonstrations of reach in the twin of this process, and a base cloned from them."""
    demos, base = tmp_path / "demos.zarr", tmp_path / "base"
    collect.collect(collect.Cfg(env="reach", out=demos, episodes=6))
    cfg = BCCfg(steps=150, checks=1, members=2, width=32, chunk=4)
    save_policy(fit(cfg, load_demos(demos, "reach"), seed=0), base)
    return demos, base


def patient_robot(folder: Path) -> str:
    """The twin's file, for a machine so busy that the bridge hears late of a new scene."""
    text = ROBOT.read_text().replace("tracking_error_rad: 1.0", "tracking_error_rad: 3.0")
    (folder / "twin.yaml").write_text(text)
    return str(folder / "twin.yaml")


def learner_of(actor) -> int | None:
    """The process id of the actor's learner."""
    children = Path(f"/proc/{actor.process.pid}/task/{actor.process.pid}/children").read_text()
    for child in children.split():
        if "learner" in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            return int(child)
    return None


def test_the_robot_goes_on_while_its_learner_is_killed_and_new_weights_come(
    ros_graph, materials, tmp_path
):
    demos, base = materials
    run = tmp_path / "run"
    ros_graph.spawn("robot_rl_sim.twin_node", params={"task": "reach"})
    robot = patient_robot(tmp_path)
    ros_graph.spawn("robot_rl_control.arm_bridge", params={"robot": robot, "autostart": True})
    command = [sys.executable, "-m", "robot_rl", "train", "--env", "reach", "--port", "ros"]
    where = ["--ros.namespace", ros_graph.namespace, "--ros.robot", robot]
    where += ["--ros.silence-s", "20"]
    command += [*where, "--demos", str(demos), "--base", str(base)]
    actor = ros_graph.run("actor", [*command, "--out", str(run), *SMALL])

    def rows():
        assert actor.process.poll() in (None, 0), actor.output
        return read_lines(run / "episodes.jsonl")

    ros_graph.wait_until(lambda: len(rows()) >= 2, "two episodes learned from", TRAIN_S)
    killed = learner_of(actor)
    os.kill(killed, signal.SIGKILL)
    sealed = len(EpisodeStore.open(SplitFolder(run).store))
    ros_graph.wait_until(
        lambda: len(EpisodeStore.open(SplitFolder(run).store)) > sealed or rows() is None,
        "an episode after the learner's death",
        TRAIN_S,
    )
    ros_graph.wait_until(lambda: actor.process.poll() is not None, "the end of the run", TRAIN_S)
    assert actor.process.returncode == 0, actor.output
    record, store = RunRecord.read(run), EpisodeStore.open(SplitFolder(run).store)
    assert record.state == "finished" and record.step >= 250
    infos = [i for i in store.infos() if not {"evaluation", "salvaged"} & i.facts.keys()]
    assert [row["length"] for row in record.episodes] == [info.length for info in infos]
    assert store.meta.control_hz == 20.0
    evaluated = [(row["policy"], row["step"]) for row in record.evals]
    assert evaluated[0] == ("base", 0) and evaluated[-1][1] == record.step
    versions = [row["version"] for row in record.episodes]
    assert versions == sorted(versions) and versions[-1] > versions[0], "new weights were taken"
    head = json.loads((run / "policy" / "policy.json").read_text())
    assert head["kind"] in ("mlp", "replanned", "chosen", "residual")

    words = [sys.executable, "-m", "robot_rl", "eval", str(run), "--port", "ros"]
    judged = ros_graph.run("eval", [*words, "--episodes", "1", *where])
    ros_graph.wait_until(lambda: judged.process.poll() is not None, "the evaluation", TRAIN_S)
    assert judged.process.returncode == 0, judged.output
    assert "1 of 1 episodes" in judged.output or "0 of 1 episodes" in judged.output
