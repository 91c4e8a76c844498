"""A port whose scene stands: it behaves as the port below, and resets only when told to."""

from dataclasses import dataclass

from robot_rl.env.conformance import check_port
from robot_rl.env.fake_port import FakePort
from robot_rl.env.standing_port import StandingPort


@dataclass
class Counted:
    """Seeds with which the port below was reset."""

    port: FakePort

    def __post_init__(self):
        self.seeds, reset = [], self.port.reset

        def counted(seed):
            self.seeds.append(seed)
            reset(seed)

        self.port.reset = counted


def test_it_keeps_the_contract_of_a_port():
    check_port(lambda: StandingPort(FakePort(), owns_scene=False))


def test_the_scene_is_put_back_at_first_and_when_asked_for():
    counted, calls = Counted(FakePort()), []
    port = StandingPort(counted.port, owns_scene=True, ask=lambda: calls.append(1))
    port.connect()
    for seed in (1, 2, 3):
        port.reset(seed)
    assert counted.seeds == [1] and port.manual_resets == 1
    port.request_reset()
    port.reset(4)
    port.reset(5)
    assert counted.seeds == [1, 4] and port.manual_resets == len(calls) == 2


def test_a_real_arm_is_reset_every_time_and_its_scene_by_a_person():
    counted = Counted(FakePort())
    port = StandingPort(counted.port, owns_scene=False)
    port.connect()
    for seed in (1, 2, 3):
        port.reset(seed)
    assert counted.seeds == [1, 2, 3] and port.manual_resets == 1
