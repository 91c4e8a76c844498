"""The graph as a robot: driver and bridge in processes of their own, and the port between."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl_control import names  # noqa: E402
from robot_rl_control.qos import COMMAND  # noqa: E402
from robot_rl_control.ros_port import RosPort, RosPortCfg  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Bool  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from robot_rl.control.observe import ObserveCfg  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.env.conformance import check_port  # noqa: E402
from robot_rl.env.robot_env import RobotEnv, RobotEnvCfg  # noqa: E402
from robot_rl.errors import ConfigError, PortError  # noqa: E402
from robot_rl.learn.rollout import run_episode  # noqa: E402
from robot_rl.replay.trajectory import CONTROL_SOURCES  # noqa: E402
from robot_rl.types import CameraSpec, Command  # noqa: E402
from sim.tasks import make_twin  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
PATIENT = {  # watchdogs that a loaded machine does not trip
    "command_timeout_s": 1.0,
    "observation_age_s": 5.0,
    "state_timeout_s": 5.0,
    "tracking_window_s": 5.0,
}


class Rig:
    """Twin and bridge as children, with a robot file of patient watchdogs."""

    def __init__(self, graph, task, robot="twin", twin=None):
        data = yaml.safe_load((ROBOTS / f"{robot}.yaml").read_text())
        data["bridge"] |= PATIENT
        self.file = graph.folder / "robot.yaml"
        self.file.write_text(yaml.safe_dump(data))
        self.graph, self.twin, self.ports = graph, make_twin(task), []
        self.robot = graph.spawn(
            "robot_rl_sim.twin_node",
            params={"task": task, "command_timeout_s": 2.0, **(twin or {})},
        )
        self.bridge = graph.spawn(
            "robot_rl_control.arm_bridge", params={"robot": str(self.file), "autostart": True}
        )
        self.cfg = RosPortCfg(
            robot=self.file,
            namespace=graph.namespace,
            tracked=self.twin.robot.tracked,
            signals=self.twin.robot.signals,
            connect_timeout_s=60.0,
            state_timeout_s=5.0,
            bridge_timeout_s=5.0,
        )

    def port(self, **changes):
        self.ports.append(RosPort(replace(self.cfg, **changes)))
        return self.ports[-1]

    def close(self):
        for port in self.ports:
            port.close()


@pytest.fixture
def make_rig(ros_graph):
    rigs = []

    def make(*args, **more):
        rigs.append(Rig(ros_graph, *args, **more))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def step(port, radians):
    """Send a target some way from where the first joint is."""
    state = port.read()
    q = state.q_rad.copy()
    q[0] += radians
    return port.send(Command(q_rad=q, gripper_m=state.gripper_m, stamp_s=port.clock.now()))


def test_the_graph_with_the_twin_is_a_robot_port(make_rig):
    rig = make_rig("reach")
    check_port(rig.port)


@pytest.mark.parametrize(("task", "robot"), [("reach", "twin"), ("peg", "twin_peg")])
def test_an_expert_solves_the_task_over_the_graph(make_rig, task, robot):
    rig = make_rig(task, robot)
    observe = ObserveCfg(max_age_s=5.0)
    env = RobotEnv(rig.port(), rig.twin.task, RobotEnvCfg(observe=observe))
    solved = 0
    for seed in range(3):
        env.reset(seed=seed)
        for _ in range(rig.twin.task.horizon):
            action = rig.twin.expert(env.port.read())
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                solved += terminated
                break
    env.close()
    assert solved >= 2


def test_the_twins_robot_files_are_the_robots_of_its_tasks():
    for task, file in (("reach", "twin"), ("peg", "twin_peg"), ("bimanual-lift", "twin_bimanual")):
        ours, theirs = load_robot(ROBOTS / f"{file}.yaml").spec.arms, make_twin(task).robot.arms
        for a, b in zip(ours, theirs, strict=True):
            assert a.joint_names == b.joint_names and a.gripper == b.gripper
            for key in ("dh_a_m", "dh_d_m", "dh_alpha_rad", "T_world_base", "T_flange_tcp",
                        "joint_lower_rad", "joint_upper_rad", "joint_velocity_limit_rad_s",
                        "joint_acceleration_limit_rad_s2", "workspace_lower_m",
                        "workspace_upper_m", "home_rad"):  # fmt: skip
                np.testing.assert_allclose(getattr(a, key), getattr(b, key), atol=1e-12)


def test_images_come_from_topics_in_the_size_that_is_asked_for(make_rig):
    camera = CameraSpec(name="front", width_px=32, height_px=32, rate_hz=5.0)
    size = {"camera_width_px": 64, "camera_height_px": 48, "camera_rate_hz": 5.0}
    rig = make_rig("reach", twin={"cameras": "front", **size})
    port = rig.port(cameras=(camera,))
    port.connect()
    port.reset(2)
    state = port.read()
    image = state.images["front"]
    assert image.rgb.shape == (32, 32, 3) and image.rgb.std() > 5
    assert image.stamp_s <= port.clock.now()


def test_an_estop_refuses_commands_until_it_is_cleared_and_says_how(ros_graph, make_rig):
    rig = make_rig("reach")
    port = rig.port()
    port.connect()
    step(port, 0.02)
    assert ros_graph.call(Trigger, names.ESTOP).success
    ros_graph.wait_until(lambda: _problem(port) is not None, "the port to know")
    with pytest.raises(PortError, match=r"mode 'estopped'. Look at the arm, then: ros2 service"):
        step(port, 0.02)
    with pytest.raises(PortError, match="estopped"):
        port.reset(0)
    ros_graph.wait_until(
        lambda: ros_graph.call(Trigger, names.CLEAR_ESTOP).success, "the e-stop cleared"
    )
    ros_graph.wait_until(lambda: _problem(port) is None, "the port to know")
    before = port.read().q_rad[0]
    ros_graph.wait_until(
        lambda: step(port, 0.05) and port.read().q_rad[0] - before > 0.03, "motion"
    )


def _problem(port):
    try:
        step(port, 0.0)
    except PortError as error:
        return str(error)


def test_a_dead_bridge_and_a_dead_driver_are_told_apart(ros_graph, make_rig):
    rig = make_rig("reach")
    port = rig.port(bridge_timeout_s=2.0, state_timeout_s=2.0)
    port.connect()
    rig.bridge.kill()
    silence = "arm bridge has been silent for more than 2.0 s"
    ros_graph.wait_until(
        lambda: silence in (_problem(port) or ""), "the port to miss the bridge, and nothing else"
    )
    rig.robot.kill()

    def is_gone():
        try:
            port.read()
        except PortError as error:
            return str(error)

    complaint = ros_graph.wait_until(is_gone, "the port to miss the driver")
    assert "has been silent for" in complaint and "driver (or the twin)" in complaint
    port.stop()
    port.close()
    assert not [t for t in threading.enumerate() if t.name == "ros_port"]


def test_while_an_operator_intervenes_send_returns_what_the_operator_does(ros_graph, make_rig):
    rig = make_rig("reach")
    port = rig.port()
    port.connect()
    port.reset(0)
    arm = port.spec.arms[0]
    start = port.read().q_rad
    active = ros_graph.client.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)
    leader = ros_graph.client.create_publisher(JointState, names.TELEOP_JOINTS, COMMAND)
    wished = start + 0.08

    def taken_over():
        active.publish(Bool(data=True))
        message = JointState(name=list(arm.joint_names), position=wished.tolist())
        message.header.stamp = ros_graph.client.get_clock().now().to_msg()
        leader.publish(message)
        return np.abs(step(port, -0.05).q_rad - wished).max() < 0.01

    ros_graph.wait_until(taken_over, "the operator's motion in what was sent")


class Operator:
    """Holds the switch, and asks for a pose with the leader arm, in a timer of the test's node."""

    def __init__(self, graph, arm):
        self.node, self.arm, self.wished_rad = graph.client, arm, None
        self.active = self.node.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)
        self.leader = self.node.create_publisher(JointState, names.TELEOP_JOINTS, COMMAND)
        self.timer = self.node.create_timer(0.02, self.lead)

    def lead(self):
        if self.wished_rad is None:
            return
        message = JointState(name=list(self.arm.joint_names), position=self.wished_rad.tolist())
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.leader.publish(message)
        self.active.publish(Bool(data=True))


class Still:
    """A policy that does nothing, beside an operator who corrects it for a while."""

    def __init__(self, env, operator):
        self.env, self.operator, self.step, self.held = env, operator, 0, 0

    def reset(self):
        self.step = self.held = 0

    def act(self, obs, base, phase):
        """Let the operator move in from the third step, until he has held for ten."""
        self.step += 1
        if self.step == 3:
            self.operator.wished_rad = self.env.port.read().q_rad + 0.1
        if self.held == 10:
            self.operator.wished_rad = None
        taken = self.env.port.taken_over()
        self.held += taken is not None and taken.source == "human"
        return np.zeros(self.env.action_space.shape, np.float32)


def test_a_persons_correction_is_marked_step_by_step_and_learned_as_executed(ros_graph, make_rig):
    rig = make_rig("reach")
    port = rig.port()
    task = replace(rig.twin.task, horizon=150)
    env = RobotEnv(port, task, RobotEnvCfg(observe=ObserveCfg(max_age_s=5.0)))
    operator = Operator(ros_graph, port.spec.arms[0])
    try:
        episode = run_episode(env, Still(env, operator), None, seed=0)
    finally:
        operator.timer.cancel()
    source = [CONTROL_SOURCES[k] for k in episode.control_source]
    human = [k for k, who in enumerate(source) if who == "human"]
    assert source[:2] == ["policy", "policy"] and source[-1] == "policy"
    assert len(human) >= 10 and human == list(range(human[0], human[-1] + 1))
    assert "blend" in source[: human[0]], "the arm catches up before it follows"
    assert set(source[human[-1] + 2 :]) == {"policy"}
    moved = np.abs(episode.executed).max(-1)
    assert moved[2 : human[-1]].max() > 0.05, "what the person did is what was executed"
    np.testing.assert_allclose(episode.executed[-1], episode.requested[-1], atol=1e-6)


def test_without_a_twin_an_episode_begins_at_home_when_a_person_says_go(ros_graph, make_rig):
    rig = make_rig("reach")
    port = rig.port(reset="home")
    port.connect()
    failures = []

    def begin():
        try:
            port.reset(0)
        except PortError as error:
            failures.append(error)

    thread = threading.Thread(target=begin)
    thread.start()

    def is_over():
        if np.abs(port.read().q_rad - port.spec.arms[0].home_rad).max() < 0.02:
            ros_graph.call(Trigger, names.EPISODE_GO)
        return not thread.is_alive()

    ros_graph.wait_until(is_over, "the reset", 60.0)
    assert not failures


def test_nobody_who_says_go_ends_the_wait(make_rig):
    rig = make_rig("reach")
    port = rig.port(reset="home", operator_timeout_s=0.2)
    port.connect()
    with pytest.raises(PortError, match=r"nobody has said go within 0.2 s. Restore the scene"):
        port.reset(0)


def test_a_graph_without_driver_or_bridge_is_refused_with_the_next_step(ros_graph):
    cfg = RosPortCfg(
        robot=ROBOTS / "twin.yaml", namespace=ros_graph.namespace, connect_timeout_s=0.3
    )
    port = RosPort(cfg)
    with pytest.raises(PortError, match=r"nothing has come in 0.3 s from: joints of arm"):
        port.connect()
    assert not [t for t in threading.enumerate() if t.name == "ros_port"]
    ros_graph.spawn("robot_rl_sim.twin_node", params={"task": "reach"})
    port = RosPort(replace(cfg, connect_timeout_s=10.0))
    with pytest.raises(PortError, match=r"no arm bridge has spoken in namespace"):
        port.connect()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"namespace": "robot"}, "namespace is 'robot', but must begin with '/'"),
        ({"state_timeout_s": 0.0}, "state_timeout_s is 0.0, but must be positive"),
    ],
)
def test_what_cannot_be_a_graph_is_refused(wrong, complaint):
    with pytest.raises(ConfigError, match=complaint):
        RosPortCfg(robot=ROBOTS / "twin.yaml", **wrong)
