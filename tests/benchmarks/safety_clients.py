"""Those who command the arm bridge in the safety table, each a process that can be killed.

python tests/benchmarks/safety_clients.py ROLE ROBOT.yaml --ros-args ...

policy     targets on a slow sine around home, stamped with the newest joint states, at 20 Hz
operator   holds the deadman and moves the tool by twists, at 50 Hz
fuzz       100,000 targets: NaN, infinite, out of range, wrong names, wrong lengths, old stamps
intruder   publishes on the driver's own command topic
"""

import math
import sys
import time

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from robot_rl_control import names
from robot_rl_control.qos import COMMAND, STATE
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

from robot_rl.apps.ports import PortCfg, make_env
from robot_rl.control.robot_file import load_robot
from robot_rl.control.targets import TargetNames
from robot_rl.types import F64, RobotSpec

FUZZED = 100_000
AMPLITUDE_RAD, PERIOD_S = 0.25, 4.0


def intruding_target(spec: RobotSpec) -> F64:
    """What the intruder commands, (dof,) [rad]: by this it can be told from the bridge."""
    return np.concatenate([arm.home_rad for arm in spec.arms]) + 0.5


class Client(Node):
    """Knows the robot, and hears its joint states."""

    def __init__(self, role: str, robot: str) -> None:
        super().__init__(f"safety_{role}")
        self.spec = load_robot(robot).spec
        self.joints = list(TargetNames(self.spec).names)
        self.home = np.concatenate([arm.home_rad for arm in self.spec.arms])
        self.open_m = [arm.gripper.max_width_m for arm in self.spec.arms if arm.gripper]
        self.heard: JointState | None = None
        self.create_subscription(JointState, names.JOINT_STATES, self._hear, STATE)
        self.targets = self.create_publisher(JointState, names.POLICY_TARGET, COMMAND)

    def _hear(self, message: JointState) -> None:
        self.heard = message

    def every(self, period_s: float) -> float:
        """Spin for one period, and return the time since the start."""
        end_s = time.monotonic() + period_s
        while (left_s := end_s - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left_s)
        return time.monotonic() - START_S


START_S = time.monotonic()
ROBOT = sys.argv[2] if len(sys.argv) > 2 else ""


def actor(node: Client, env: str = "reach") -> None:
    """The environment that training uses, for ever."""
    env_ = make_env(env, "ros", PortCfg(robot=ROBOT, namespace=node.get_namespace()))
    shape = env_.action_space.shape
    assert shape is not None  # Box
    while True:
        env_.reset(seed=0)
        terminated = truncated = False
        while not (terminated or truncated):
            t_s = time.monotonic() - START_S
            share = 0.8 * math.sin(2 * math.pi * t_s / PERIOD_S)
            action = np.full(shape, share, np.float32)
            _, _, terminated, truncated, _ = env_.step(action)


def seeing(node: Client) -> None:
    """The same, and it needs images."""
    actor(node, "reach/pixels")


def policy(node: Client) -> None:
    """A well-behaved policy, for ever."""
    while True:
        t_s = node.every(0.05)
        if node.heard is None:
            continue
        q = node.home + AMPLITUDE_RAD * math.sin(2 * math.pi * t_s / PERIOD_S)
        message = JointState(name=node.joints, position=[*q.tolist(), *node.open_m])
        message.header.stamp = node.heard.header.stamp
        node.targets.publish(message)


def operator(node: Client) -> None:
    """A person who holds the switch and moves the tool up and down, for ever."""
    twists = node.create_publisher(TwistStamped, names.TELEOP_TWIST, COMMAND)
    held = node.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)
    while True:
        t_s = node.every(0.02)
        held.publish(Bool(data=True))
        message = TwistStamped()
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = node.spec.arms[0].name
        message.twist.linear.z = 0.1 * math.sin(2 * math.pi * t_s / PERIOD_S)
        twists.publish(message)


def fuzz(node: Client) -> None:
    """Everything a target must not be, as fast as it can be sent; ends by itself."""
    rng = np.random.default_rng(0)
    node.every(1.0)
    for sent in range(FUZZED):
        n = len(node.joints)
        position = rng.normal(0.0, 10.0 ** rng.uniform(-2, 8), n)
        bad = rng.random(n) < rng.choice([0.0, 0.2])
        position[bad] = rng.choice([math.nan, math.inf, -math.inf, 1e308], bad.sum())
        words = list(node.joints)
        if rng.random() < 0.2:
            words = words[: rng.integers(0, n)] + ["", "arm_joint99"][: rng.integers(0, 3)]
        message = JointState(name=words, position=position[: rng.integers(0, n + 1) or n].tolist())
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.stamp.sec += int(rng.choice([0, 0, 0, -3600, 3600]))
        node.targets.publish(message)
        if sent % 100 == 0:
            rclpy.spin_once(node, timeout_sec=0.0)


def intruder(node: Client) -> None:
    """A second publisher on the driver's topic: a forgotten script, for ever."""
    topic = "forward_position_controller/commands"
    publisher = node.create_publisher(Float64MultiArray, topic, COMMAND)
    while True:
        node.every(0.1)
        publisher.publish(Float64MultiArray(data=intruding_target(node.spec).tolist()))


def main() -> int:
    """Play the role that the command line names."""
    role = sys.argv[1]
    rclpy.init(args=sys.argv)
    {f.__name__: f for f in (actor, seeing, policy, operator, fuzz, intruder)}[role](
        Client(role, ROBOT)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
