"""What a live graph's figures mean: rates, ages, lost images, rivals; no ROS.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → **send**
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.apps.checks.finding import Finding

__all__ = ["Graph", "Topic", "judge"]

BRIDGE = "arm_bridge"
JOINT_STATES = "joint_states"
MODE = f"{BRIDGE}/mode"
OF_BRIDGE = (MODE, f"{BRIDGE}/executed", f"{BRIDGE}/estopped", f"{BRIDGE}/transition_event")
OF_ONE = (f"{BRIDGE}/policy_target", "teleop/twist", "teleop/joint_target", "teleop/active")
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Raw, and compressed."""
INFO = "sensor_msgs/msg/CameraInfo"

LOW_STATE_HZ = 50.0  # two states a control step at 20 Hz, and some spare
LOW_IMAGE_HZ = 8.0
OLD_STATE_S = 0.05
OLD_IMAGE_S = 0.15
OTHER_CLOCK_S = 5.0  # no transport is that late
LOST_SHARE = 0.1  # less is a busy reader, the doctor's own ears among them
OVERFLOW_SHARE = 0.3  # a shared memory that is too small loses half and more
MIN_STAMPS = 5
DEFAULT_SEGMENT_BYTES = 512 * 1024  # of Fast DDS's shared memory, when no profile says more


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What was heard on one topic.

    Attributes:
        name: Relative to the robot's namespace.
        kind: Message type, such as `sensor_msgs/msg/Image`.
        publishers: Nodes that publish it.
        times_s: Monotonic times of receipt.
        stamps_s: Stamps of the messages; empty if the type has none.
        ages_s: Clock minus stamp on receipt; empty likewise.
        last: Text of the last message, for types that are one.
        size_bytes: Of the last image.
    """

    name: str
    kind: str
    publishers: Sequence[str] = ()
    times_s: Sequence[float] = ()
    stamps_s: Sequence[float] = ()
    ages_s: Sequence[float] = ()
    last: str = ""
    size_bytes: int = 0

    @property
    def rate_hz(self) -> float:
        """Mean rate of receipt; 0 for fewer than two messages."""
        if len(self.times_s) < 2:
            return 0.0
        return (len(self.times_s) - 1) / max(self.times_s[-1] - self.times_s[0], 1e-6)

    @property
    def age_s(self) -> float:
        """Median age."""
        return float(np.median(self.ages_s)) if self.ages_s else 0.0

    @property
    def is_frozen(self) -> bool:
        """Whether messages come, but all of one moment."""
        return len(self.stamps_s) > 2 and len(set(self.stamps_s)) == 1

    @property
    def figures(self) -> str:
        """Rate and age in words."""
        if not self.times_s:
            return f"silent, from {', '.join(self.publishers) or 'nobody'}"
        if self.last and len(self.times_s) == 1:
            return self.last  # a latched word
        words = f"{self.rate_hz:.1f} Hz" if self.rate_hz else "1 message"
        if self.ages_s:
            words += f", age {1e3 * self.age_s:.1f} ms"
            words += f" (p99 {1e3 * float(np.percentile(self.ages_s, 99)):.1f})"
        return f"{words}: {self.last}" if self.last else words


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What was seen of a robot's namespace.

    Attributes:
        namespace: Such as `/robot`.
        domain: ROS_DOMAIN_ID.
        nodes: Names of the nodes in the namespace.
        topics: All topics in the namespace.
        commands: Names of topics that the bridge publishes to the driver.
    """

    namespace: str
    domain: str
    nodes: Sequence[str]
    topics: Sequence[Topic]
    commands: Sequence[str] = ()


def judge(graph: Graph) -> list[Finding]:
    """One finding on the graph, one on the bridge, and one a topic."""
    if not graph.topics:
        return [_empty(graph)]
    topics = {topic.name: topic for topic in graph.topics}
    findings = [
        Finding(
            name="ros graph",
            status="ok",
            detail=f"{graph.namespace} on domain {graph.domain}: {', '.join(graph.nodes)}",
        ),
        _bridge(graph, topics),
    ]
    if JOINT_STATES not in topics:
        topics[JOINT_STATES] = Topic(name=JOINT_STATES, kind="sensor_msgs/msg/JointState")
    spoken = [n for n, topic in topics.items() if topic.publishers or n == JOINT_STATES]
    return [*findings, *(_topic(topics[name], graph, topics) for name in sorted(spoken))]


def _empty(graph: Graph) -> Finding:
    return Finding(
        name="ros graph",
        status="broken",
        detail=f"nothing in namespace {graph.namespace} on domain {graph.domain}",
        mend="Start it: ros2 launch robot_rl_bringup twin.launch.py. If it runs: give its "
        "--namespace, and the same ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE as it has.",
    )


def _bridge(graph: Graph, topics: Mapping[str, Topic]) -> Finding:
    if BRIDGE not in graph.nodes:
        return Finding(
            name=BRIDGE,
            status="broken",
            detail="not running: nothing that is sent here reaches the arm",
            mend="ros2 launch robot_rl_bringup real.launch.py robot:=<robot file>, or look into "
            "its log why it ended",
        )
    mode = topics[MODE].last if MODE in topics else ""
    node = f"{graph.namespace}/{BRIDGE}"
    mends = {
        "": f"ros2 lifecycle set {node} configure",
        "inactive": f"ros2 lifecycle set {node} activate",
        "estopped": f"ros2 service call {node}/clear_estop std_srvs/srv/Trigger, once the reason "
        "is mended",
    }
    if mode.startswith("fault"):
        return Finding(
            name=BRIDGE,
            status="broken",
            detail=mode,
            mend=f"Mend that, then: ros2 service call {node}/clear_estop std_srvs/srv/Trigger",
        )
    status = "slow" if mode in mends else "ok"
    return Finding(
        name=BRIDGE, status=status, detail=mode or "not configured", mend=mends.get(mode, "")
    )


def _topic(topic: Topic, graph: Graph, topics: Mapping[str, Topic]) -> Finding:
    """The first thing that is wrong with a topic, or its figures."""
    rivals = _rivals(topic, graph)
    if rivals:
        return rivals
    if not topic.times_s:
        return _silent(topic)
    if topic.is_frozen:
        return _finding(
            topic,
            "broken",
            "its stamp stands still: what is behind it has hung",
            f"Restart {', '.join(topic.publishers)}; nothing of ours acts on a frozen stamp.",
        )
    if abs(topic.age_s) > OTHER_CLOCK_S:
        return _finding(
            topic,
            "broken",
            "its stamps are of another clock",
            "Synchronise the machines (chrony), or give every node the same use_sim_time.",
        )
    if topic.kind in IMAGES:
        return _image(topic, topics)
    if topic.name == JOINT_STATES and (topic.rate_hz < LOW_STATE_HZ or topic.age_s > OLD_STATE_S):
        return _finding(
            topic,
            "slow",
            f"a policy at 20 Hz wants {LOW_STATE_HZ:.0f} Hz, no older than {OLD_STATE_S:.2f} s",
            "Raise the driver's rate (ros2_control: update_rate), or free its processor.",
        )
    return Finding(name=topic.name, status="ok", detail=topic.figures)


def _rivals(topic: Topic, graph: Graph) -> Finding | None:
    """Several publishers where there must be one."""
    commanding = topic.name in graph.commands
    if len(topic.publishers) < 2 or not (commanding or topic.name in (*OF_ONE, *OF_BRIDGE)):
        return None
    mend = "Stop all but one of them."
    if commanding:
        mend = f"Stop all but {BRIDGE}: it alone knows the limits. It holds until then."
    return _finding(topic, "broken", f"published by {' and by '.join(topic.publishers)}", mend)


def _silent(topic: Topic) -> Finding:
    if topic.name == JOINT_STATES:
        return _finding(
            topic,
            "broken",
            "no state of the arm",
            "Start its driver, with joint_states in this namespace (remap it), and look whether "
            "another RMW_IMPLEMENTATION or ROS_DOMAIN_ID keeps it apart.",
        )
    if topic.kind in (*IMAGES, INFO) and topic.publishers:
        return _finding(
            topic,
            "broken",
            "announced, but no image comes",
            "Look at the camera's log and cable; across machines: the compressed topic, and an "
            "open firewall.",
        )
    return _finding(topic, "absent", "", "")


def _image(topic: Topic, topics: Mapping[str, Topic]) -> Finding:
    lost = _lost_share(topic, topics)
    share = "" if lost is None else f", {lost:.0%} lost"
    is_slow = topic.rate_hz < LOW_IMAGE_HZ or topic.age_s > OLD_IMAGE_S
    if (lost is None or lost <= LOST_SHARE) and not is_slow:
        return Finding(name=topic.name, status="ok", detail=topic.figures + share)
    overflows = lost is not None and lost > OVERFLOW_SHARE
    if topic.size_bytes > DEFAULT_SEGMENT_BYTES and (overflows or is_slow):
        return _finding(
            topic,
            "broken" if overflows else "slow",
            f"{topic.size_bytes / 1e6:.1f} MB an image{share}; without a profile Fast DDS has "
            f"{DEFAULT_SEGMENT_BYTES / 1e6:.1f} MB of shared memory and drops what does not fit",
            f"Start its publisher, {', '.join(topic.publishers)}, with "
            "FASTRTPS_DEFAULT_PROFILES_FILE set to robot_rl_bringup's config/fastdds.xml (our "
            "launch files do): only its side counts. Across machines: the compressed topic.",
        )
    return _finding(
        topic,
        "slow",
        f"a policy wants {LOW_IMAGE_HZ:.0f} Hz, no older than {OLD_IMAGE_S:.2f} s, and most of "
        f"them{share}",
        "Free the processor, lower the resolution, or plug the camera into a USB 3 port of its "
        "own.",
    )


def _lost_share(topic: Topic, topics: Mapping[str, Topic]) -> float | None:
    """Images that did not come; None where too few came to tell.

    Gaps between stamps are whole periods. The period is taken from the images and their infos,
    which carry the same stamps and are lost less often.
    """
    camera = topic.name.partition("/")[0]
    infos = [t for t in topics.values() if t.kind == INFO and t.name.startswith(f"{camera}/")]
    stamps_s = np.unique(np.array([*topic.stamps_s, *(s for t in infos for s in t.stamps_s)]))
    own_s = np.unique(np.array(topic.stamps_s))
    if len(own_s) < 2 or len(stamps_s) < MIN_STAMPS:
        return None
    # Even of images of which four in five are lost, a fifth follow each other directly.
    period_s = np.percentile(np.diff(stamps_s), 20)
    lost = np.maximum(np.round(np.diff(own_s) / period_s) - 1, 0).sum()
    return float(lost / (lost + len(own_s)))


def _finding(topic: Topic, status: str, reason: str, mend: str) -> Finding:
    detail = f"{topic.figures}; {reason}" if reason else topic.figures
    return Finding(name=topic.name, status=status, detail=detail, mend=mend)  # type: ignore[arg-type]
