"""Between episodes nobody waits for an answer that is lost."""

import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from rclpy.task import Future  # noqa: E402
from robot_rl_control.scene import Scene  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from robot_rl.control.franka import franka_like_spec  # noqa: E402


class Deaf:
    """A service of which every answer but those after the first is lost."""

    srv_name = "/robot/arm_bridge/resync"

    def __init__(self):
        self.asked, self.forgotten = [], []

    def service_is_ready(self):
        return True

    def call_async(self, request):
        future = Future()
        if self.asked:
            future.set_result(Trigger.Response(success=True))
        self.asked.append(future)
        return future

    def remove_pending_request(self, future):
        self.forgotten.append(future)


def test_a_request_whose_answer_is_lost_is_made_again(ros_graph):
    now_s = [0.0]
    scene = Scene(ros_graph.client, franka_like_spec(), reader=None, now_s=lambda: now_s[0])
    scene._resync = deaf = Deaf()
    scene.make("home")
    for tenths in range(29):
        now_s[0] = 0.1 * tenths
        assert not scene.is_ready()
    assert len(deaf.asked) == 1, "it may yet come"
    now_s[0] = 3.1
    scene.is_ready()
    assert deaf.forgotten == deaf.asked[:1] and len(deaf.asked) == 2
    assert "no answer within 3 s" in scene.note
    now_s[0] = 3.2
    scene.is_ready()
    assert scene._stage == "check"
