import json
from pathlib import Path

import numpy as np
import pytest
from small_arm import short_motion

from robot_rl.errors import PortError, UnknownNameError
from sim.identify.hidden import HiddenRobot
from sim.identify.measurement import load_measurement
from sim.identify.motion import Motion


def test_it_serves_measurements_and_the_truth_comes_last(tmp_path: Path) -> None:
    with HiddenRobot("A", 3) as robot:
        noisy = robot.move(short_motion(), tmp_path / "a.npz")
        again = robot.move(short_motion(), tmp_path / "b.npz", noise_seed=1)
        truth = robot.reveal((short_motion(),))
        with pytest.raises(PortError, match=r"hidden robot A3 refuses: it was revealed"):
            robot.move(short_motion(), tmp_path / "c.npz")
    assert len(truth["values"]) == 22
    assert 0.005 <= truth["values"]["delay"] <= 0.030
    quiet = np.array(truth["states"][0])
    for one in (noisy, again):
        assert np.std(one.position - quiet) == pytest.approx(3e-4, rel=0.1)
    assert noisy.hash != again.hash
    assert load_measurement(tmp_path / "a.npz").hash == noisy.hash


def test_measurements_say_nothing_of_the_truth(tmp_path: Path) -> None:
    with HiddenRobot("A", 3) as robot:
        robot.move(short_motion(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        head = json.loads(str(file["head"]))
    assert set(head) == {"format", "channels", "source", "facts", "hash"}
    assert head["facts"] == {}


def test_a_seed_is_one_robot_and_kinds_differ(tmp_path: Path) -> None:
    seen = {}
    for kind, seed in (("A", 0), ("A", 0), ("A", 1), ("B", 0)):
        with HiddenRobot(kind, seed) as robot:
            hash_ = robot.move(short_motion(), tmp_path / "a.npz").hash
        assert seen.setdefault((kind, seed), hash_) == hash_
    assert len(set(seen.values())) == 3


def test_requests_that_cannot_be_met_are_answered(tmp_path: Path) -> None:
    with HiddenRobot("B", 0) as robot:
        wrong = Motion(joints=("elbow",), q_rad=np.zeros((3, 1)))
        with pytest.raises(
            PortError, match="hidden robot B0 refuses: the motion is of the joints"
        ):
            robot.move(wrong, tmp_path / "a.npz")
        robot.move(short_motion(), tmp_path / "a.npz")
    with pytest.raises(PortError, match="has gone"):
        robot.reveal()


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"kind of hidden robot 'C'\. Available: A, B"):
        HiddenRobot("C", 0)  # type: ignore[arg-type]
