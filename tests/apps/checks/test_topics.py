"""From what is heard on a graph to what is wrong with it, and to the way out."""

from dataclasses import replace

import numpy as np
import pytest

from robot_rl.apps.checks.topics import Graph, Topic, judge

RNG = np.random.default_rng(0)
IMAGE = "sensor_msgs/msg/Image"


def heard(name, kind, rate_hz, *, kept=None, age_s=0.002, jitter_s=0.0, **more):
    """A topic of two seconds; `kept` says which of its messages came."""
    due_s = np.arange(0, 2, 1 / rate_hz)
    due_s = due_s + jitter_s * RNG.uniform(-1, 1, len(due_s))
    came_s = due_s if kept is None else due_s[kept(len(due_s))]
    return Topic(
        name=name,
        kind=kind,
        publishers=more.pop("publishers", ["/robot/source"]),
        times_s=list(came_s + age_s),
        stamps_s=list(came_s),
        ages_s=[age_s] * len(came_s),
        **more,
    )


JOINTS = heard("joint_states", "sensor_msgs/msg/JointState", 100)
MODE = Topic(
    name="arm_bridge/mode",
    kind="std_msgs/msg/String",
    publishers=["/robot/arm_bridge"],
    times_s=[0.0],
    last="hold",
)
INFO = heard("wrist/color/camera_info", "sensor_msgs/msg/CameraInfo", 30)
GRAPH = Graph(
    namespace="/robot",
    domain="7",
    nodes=["arm_bridge", "driver"],
    topics=[JOINTS, MODE],
    commands=["controller/commands"],
)


def findings(*topics, **change):
    given = {topic.name: topic for topic in (*GRAPH.topics, *topics)}
    graph = replace(GRAPH, topics=list(given.values()), **change)
    return {finding.name: finding for finding in judge(graph)}


def image(rate_hz=30.0, size_bytes=921_600, **more):
    return heard("wrist/color/image_raw", IMAGE, rate_hz, size_bytes=size_bytes, **more)


def test_a_sound_graph_is_told_with_its_figures():
    found = findings(INFO, image())
    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["joint_states"].detail == "100.0 Hz, age 2.0 ms (p99 2.0)"
    assert found["arm_bridge"].detail == "hold"
    assert found["wrist/color/image_raw"].detail.endswith(", 0% lost")


def test_an_empty_graph_tells_how_to_start_one_and_why_it_may_not_be_seen():
    (found,) = judge(replace(GRAPH, topics=[], nodes=[]))
    assert found.status == "broken" and "domain 7" in found.detail
    assert "ros2 launch" in found.mend and "ROS_DOMAIN_ID" in found.mend


@pytest.mark.parametrize("share", [0.45, 0.6, 0.77])
def test_images_that_do_not_fit_shared_memory_send_you_to_the_publisher(share):
    lossy = image(kept=lambda n: RNG.random(n) >= share)
    found = findings(INFO, lossy)["wrist/color/image_raw"]
    assert found.status == "broken" and "0.9 MB an image" in found.detail
    told = float(found.detail.split("% lost")[0].split()[-1]) / 100
    assert told == pytest.approx(share, abs=0.15)
    assert "/robot/source" in found.mend and "FASTRTPS_DEFAULT_PROFILES_FILE" in found.mend


def test_a_busy_machine_is_not_taken_for_a_small_shared_memory():
    lossy = image(kept=lambda n: np.arange(n) % 5 != 2)
    found = findings(INFO, lossy)["wrist/color/image_raw"]
    assert found.status == "slow" and "20% lost" in found.detail and "PROFILES" not in found.mend


def test_losses_are_seen_without_a_camera_info_too():
    lossy = image(kept=lambda n: RNG.random(n) >= 0.5)
    assert findings(lossy)["wrist/color/image_raw"].status == "broken"


def test_jitter_is_no_loss():
    assert findings(image(jitter_s=0.006))["wrist/color/image_raw"].status == "ok"


def test_small_images_that_are_few_are_no_matter_of_shared_memory():
    found = findings(image(rate_hz=4, size_bytes=20_000))["wrist/color/image_raw"]
    assert found.status == "slow" and "PROFILES" not in found.mend


def test_two_publishers_of_a_command_are_told_by_name():
    rivals = Topic(
        name="controller/commands",
        kind="std_msgs/msg/Float64MultiArray",
        publishers=["/robot/arm_bridge", "/robot/script"],
        times_s=[0.0, 0.01],
    )
    found = findings(rivals)["controller/commands"]
    assert found.status == "broken"
    assert "/robot/arm_bridge and by /robot/script" in found.detail
    assert "Stop all but arm_bridge" in found.mend


def test_two_policies_are_told():
    rivals = heard(
        "arm_bridge/policy_target", "sensor_msgs/msg/JointState", 20, publishers=["/a/x", "/a/y"]
    )
    assert findings(rivals)["arm_bridge/policy_target"].status == "broken"


def test_two_publishers_of_a_state_are_nobodys_harm():
    shared = replace(JOINTS, publishers=["/robot/arm", "/robot/gripper"])
    assert findings(shared)["joint_states"].status == "ok"


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("inactive", "slow", "ros2 lifecycle set /robot/arm_bridge activate"),
        ("estopped", "slow", "arm_bridge/clear_estop"),
        ("fault: two publishers", "broken", "Mend that"),
        ("policy", "ok", ""),
    ],
)
def test_the_mode_of_the_bridge_tells_the_next_step(mode, status, words):
    found = findings(replace(MODE, last=mode))["arm_bridge"]
    assert found.status == status and words in found.mend


def test_a_bridge_that_is_missing_is_told():
    found = findings(nodes=["driver"])["arm_bridge"]
    assert found.status == "broken" and "ros2 launch" in found.mend


def test_an_arm_without_joint_states_is_told():
    found = {f.name: f for f in judge(replace(GRAPH, topics=[MODE]))}["joint_states"]
    assert found.status == "broken" and "silent, from nobody" in found.detail


@pytest.mark.parametrize(
    ("topic", "status", "words"),
    [
        (heard("joint_states", "sensor_msgs/msg/JointState", 20), "slow", "wants 50 Hz"),
        (replace(JOINTS, ages_s=[0.2] * 200), "slow", "no older than 0.05 s"),
        (replace(JOINTS, stamps_s=[1.0] * 200), "broken", "stamp stands still"),
        (replace(JOINTS, ages_s=[-7200.0] * 200), "broken", "of another clock"),
    ],
)
def test_a_bad_state_is_told(topic, status, words):
    found = findings(topic)["joint_states"]
    assert found.status == status and words in found.detail and found.mend


def test_a_camera_that_only_announces_itself_is_told():
    found = findings(Topic(name="wrist/color/image_raw", kind=IMAGE, publishers=["/robot/cam"]))
    assert found["wrist/color/image_raw"].status == "broken"
    assert "no image comes" in found["wrist/color/image_raw"].detail


def test_topics_that_nobody_publishes_are_not_told():
    waiting = Topic(name="arm_bridge/policy_target", kind="sensor_msgs/msg/JointState")
    assert "arm_bridge/policy_target" not in findings(waiting)


def test_a_device_that_nobody_touches_is_no_fault():
    idle = Topic(name="teleop/twist", kind="geometry_msgs/msg/TwistStamped", publishers=["/r/t"])
    found = findings(idle)["teleop/twist"]
    assert found.status == "absent" and found.detail == "silent, from /r/t"
