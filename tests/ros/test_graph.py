"""The harness itself: what the other tests of this folder stand on."""

import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]


def test_a_latched_message_reaches_a_node_that_joins_later(ros_graph):
    from robot_rl_control.names import BRIDGE_MODE
    from robot_rl_control.qos import LATCHED
    from std_msgs.msg import String

    publisher = ros_graph.node("speaker").create_publisher(String, BRIDGE_MODE, LATCHED)
    publisher.publish(String(data="hold"))
    heard = ros_graph.hear(String, BRIDGE_MODE, LATCHED)
    ros_graph.wait_until(lambda: heard.last, "the latched mode")
    assert heard.last.data == "hold"
