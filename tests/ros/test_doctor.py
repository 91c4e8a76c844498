"""The doctor's ears on a running graph."""

import json
import threading

import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]


@pytest.fixture
def robot(ros_graph):
    """A driver at 100 Hz with images at 33 Hz, and a bridge that only says its mode."""
    from robot_rl_control import names
    from robot_rl_control.qos import COMMAND, LATCHED, SENSOR, STATE
    from sensor_msgs.msg import CameraInfo, Image, JointState
    from std_msgs.msg import Float64MultiArray, String

    driver, bridge = ros_graph.node("driver"), ros_graph.node("arm_bridge")
    joints = driver.create_publisher(JointState, names.JOINT_STATES, STATE)
    images = driver.create_publisher(Image, names.color_image("wrist"), SENSOR)
    infos = driver.create_publisher(CameraInfo, names.camera_info("wrist"), SENSOR)
    mode = bridge.create_publisher(String, names.BRIDGE_MODE, LATCHED)
    bridge.create_publisher(Float64MultiArray, "controller/commands", COMMAND)
    mode.publish(String(data="hold"))
    stop = threading.Event()

    def drive():
        image, count = Image(height=48, width=64, step=192, encoding="rgb8"), 0
        image.data = bytes(48 * 192)
        while not stop.wait(0.01):
            stamp = driver.get_clock().now().to_msg()
            state = JointState(name=["arm_joint1"], position=[0.0])
            state.header.stamp = stamp
            joints.publish(state)
            if count % 3 == 0:
                image.header.stamp = stamp
                info = CameraInfo()
                info.header.stamp = stamp
                infos.publish(info)
                images.publish(image)
            count += 1

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    yield ros_graph
    stop.set()
    thread.join(5)


def doctor(capsys, namespace):
    from robot_rl.apps import cli

    code = cli.main(["doctor", "--ros", "--namespace", namespace, "--json"])
    return code, {f["name"]: f for f in json.loads(capsys.readouterr().out)}


def test_every_topic_is_told_with_its_rate_and_age(robot, capsys):
    code, found = doctor(capsys, robot.namespace)
    assert {"ros", "ros transport", "ros graph", "arm_bridge"} <= found.keys()
    assert found["ros graph"]["detail"].startswith(robot.namespace)
    assert found["arm_bridge"]["detail"] == "hold"
    for topic in ("joint_states", "wrist/color/image_raw", "wrist/color/camera_info"):
        assert " Hz, age " in found[topic]["detail"]
    assert found["controller/commands"]["status"] == "absent"  # the bridge says nothing yet
    assert code == int(any(f["status"] == "broken" for f in found.values()))


def test_a_second_publisher_of_commands_is_told_by_name(robot, capsys):
    from robot_rl_control.qos import COMMAND
    from std_msgs.msg import Float64MultiArray

    script = robot.node("script")
    script.create_publisher(Float64MultiArray, "controller/commands", COMMAND)
    code, found = doctor(capsys, robot.namespace)
    assert code == 1 and found["controller/commands"]["status"] == "broken"
    assert f"{robot.namespace}/script" in found["controller/commands"]["detail"]


def test_a_namespace_with_nothing_in_it_is_told(ros_graph, capsys):
    code, found = doctor(capsys, "/nobody_here")
    assert code == 1 and "ros2 launch" in found["ros graph"]["mend"]
