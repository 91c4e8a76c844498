"""`robot-rl identify` from the command line: excite, fit, report, and recordings of all kinds."""

import json
from pathlib import Path

import numpy as np
import pytest

from robot_rl.apps.identify import main
from robot_rl.apps.identify.sources import load_measurements, read_bag, read_episodes
from robot_rl.errors import DataError, UnknownNameError
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from sim.identify.measurement import Measurement, load_measurement
from sim.identify.posterior import Posterior

JOINTS = tuple(f"arm_joint{i}" for i in range(1, 8))
SHORT = ["--motion.duration-s", "2.5", "--motion.rest-s", "0.25", "--motion.candidates", "1"]
QUICK = ["--search.starts", "1", "--search.candidates", "0", "--unknowns", "armature", "delay"]
JOINT_STATE = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identify") / "fit.npz"
    assert main(["excite", str(path), *SHORT]) == 0
    return path


@pytest.fixture(scope="module")
def fitted(measured: Path) -> Path:
    out = measured.with_name("arm.json")
    held_out = measured.with_name("check.npz")
    assert main(["excite", str(held_out), "--seed", "4", *SHORT]) == 0
    arguments = ["fit", str(measured), "--held-out", str(held_out), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    return out


def test_a_recorded_motion_says_with_which_gains_it_was_made(measured: Path) -> None:
    one = load_measurement(measured)
    assert one.channels == JOINTS
    assert one.facts["share"] == 0.1
    assert one.duration_s == pytest.approx(2.5)


def test_the_nominal_twin_is_found_to_be_itself(fitted: Path) -> None:
    found = Posterior.load(fitted)
    assert found.is_trusted
    z = (found.mean - found.parameters.prior_mean) / found.std
    assert np.abs(z).mean() < 1.6
    assert found.details["command"].startswith("robot-rl identify fit ")
    assert found.details["share"] == 0.1
    assert len(found.details["held_out"]) == 1


def test_the_page_needs_nothing_but_itself(fitted: Path) -> None:
    assert main(["report", str(fitted)]) == 0
    page = fitted.with_suffix(".html").read_text()
    for words in ("chi2", "arm_joint3.armature", "A motion that no fit has seen", "delay"):
        assert words in page
    assert "robot-rl identify fit" in page
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_a_report_of_other_files_is_refused(
    fitted: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(fitted.read_text())
    found = Posterior.load(fitted).with_details(
        fitted_on=[str(measured.with_name("check.npz"))], predicted=[]
    )
    found.save(tmp_path / "arm.json")
    assert main(["report", str(tmp_path / "arm.json")]) == 2
    assert "the measurements have changed since the fit" in capsys.readouterr().err
    assert data["hash"] != found.hash


def test_bad_input_gets_one_clear_line(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(tmp_path / "none.npz")]) == 2
    assert "no measurement that can be read" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "x.csv")]) == 2
    assert "is no measurement. Give a .npz" in capsys.readouterr().err
    assert main(["fit", str(measured), "--robot", "ur5e"]) == 2
    error = capsys.readouterr().err
    assert "unknown channel" in error and "Available: arm_joint1" in error
    assert main(["excite", str(tmp_path / "a.npz"), "--share", "2"]) == 2
    assert "share of the drives' gains is 2.0, but must be in (0, 1]" in capsys.readouterr().err


def test_gains_that_contradict_each_other_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stiff = tmp_path / "stiff.npz"
    assert main(["excite", str(stiff), "--share", "0.2", *SHORT]) == 0
    assert main(["fit", str(measured), str(stiff)]) == 2
    assert "[0.1, 0.2] of the drives' gains" in capsys.readouterr().err


def write_store(path: Path, one: Measurement, *, commands: bool = True, every: int = 1) -> None:
    """The measurement as an episode, as `robot-rl record` keeps it."""
    with EpisodeStore.create(path, StoreMeta(robot="twin", control_hz=100 / every)) as store:
        writer = store.begin({"task": "motion"})
        rows = range(0, len(one.command), every)
        for k in rows:
            robot = {"q_rad": one.position[k], "dq_rad_s": one.velocity[k]}
            if commands:
                robot["command_rad"] = one.command[k]
            writer.observe(float(one.state_s[k]), {"state": np.zeros(1, np.float32)}, robot)
            if k != rows[-1]:
                writer.step(np.zeros(1, np.float32), np.zeros(1, np.float32))
        writer.seal("unknown", "none")


def test_an_episode_is_as_good_as_a_measurement(measured: Path, tmp_path: Path) -> None:
    one = load_measurement(measured)
    write_store(tmp_path / "store", one)
    (read,) = read_episodes(tmp_path / "store", JOINTS)
    np.testing.assert_allclose(read.position, one.position[:-1])
    np.testing.assert_allclose(read.command, one.command, atol=1e-9)
    np.testing.assert_allclose(read.position_std, 3e-4, rtol=0.3)
    out = tmp_path / "arm.json"
    arguments = ["fit", str(tmp_path / "store"), "--out", str(out), "--share", "0.1", *QUICK]
    assert main(arguments) == 0
    found = Posterior.load(out)
    np.testing.assert_allclose(found.values[0], found.parameters.nominal[0], rtol=0.2)


def test_episodes_without_commands_are_refused(measured: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "store", load_measurement(measured), commands=False)
    with pytest.raises(DataError, match=r"ep_000000 lacks robot/command_rad.*robot-rl record"):
        read_episodes(tmp_path / "store", JOINTS)


def test_episodes_of_another_robot_are_refused(measured: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "store", load_measurement(measured))
    with pytest.raises(DataError, match="is of 7 joints, but the robot has 2: a, b"):
        read_episodes(tmp_path / "store", ("a", "b"))


def write_bag(path: Path, one: Measurement, topics: tuple[str, str], reverse: bool) -> None:
    """Joint states and executed commands, joints in any order and with strangers among them."""
    from mcap_ros2.writer import Writer

    order = list(range(7))[::-1] if reverse else list(range(7))
    names = [JOINTS[i] for i in order] + ["lamp"]
    with path.open("wb") as file:
        writer = Writer(file)
        schema = writer.register_msgdef("sensor_msgs/msg/JointState", JOINT_STATE)
        for topic, stamps, values, speeds in (
            (topics[0], one.command_s, one.command, None),
            (topics[1], one.state_s, one.position, one.velocity),
        ):
            for k, stamp_s in enumerate(stamps + 1_000.0):
                sec = int(stamp_s)
                header = {"stamp": {"sec": sec, "nanosec": round(1e9 * (stamp_s - sec))}}
                message = {
                    "header": {**header, "frame_id": ""},
                    "name": names,
                    "position": [*values[k, order], 0.0],
                    "velocity": [] if speeds is None else [*speeds[k, order], 0.0],
                    "effort": [],
                }
                for _ in range(2):  # a driver that repeats itself
                    writer.write_message(topic, schema, message, log_time=round(1e9 * stamp_s))
        writer.finish()


TOPICS = ("/robot/arm_bridge/executed", "/robot/joint_states")


def test_a_bag_is_as_good_as_a_measurement(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="needs the extra 'bags'")
    one = load_measurement(measured)
    write_bag(tmp_path / "run.mcap", one, TOPICS, reverse=True)
    (read,) = load_measurements(tmp_path / "run.mcap", JOINTS)
    np.testing.assert_allclose(read.state_s - 1000.0, one.state_s, atol=1e-6)
    np.testing.assert_array_equal(read.position, one.position)
    np.testing.assert_array_equal(read.velocity, one.velocity)
    np.testing.assert_array_equal(read.command, one.command)


def test_bags_that_lack_something_say_what(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="needs the extra 'bags'")
    one, path = load_measurement(measured), tmp_path / "run.mcap"
    write_bag(path, one, ("/robot/other", "/robot/joint_states"), reverse=False)
    with pytest.raises(DataError, match=r"no messages on /robot/arm_bridge/executed.*ros2 bag"):
        read_bag(path, JOINTS)
    write_bag(path, one, TOPICS, reverse=False)
    with pytest.raises(UnknownNameError, match=r"joint on .*executed of .* 'elbow'"):
        read_bag(path, (*JOINTS, "elbow"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read as a bag"):
        read_bag(path, JOINTS)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a bag"):
        read_bag(path, JOINTS)
