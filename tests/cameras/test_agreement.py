import pytest

from robot_rl.cameras.agreement import check_agreement
from robot_rl.cameras.cfg import UvcCfg
from robot_rl.errors import ConfigError
from robot_rl.types import CameraSpec

OPENED = [UvcCfg(name="wrist", source=0, width_px=640, height_px=480, rate_hz=30)]


def check(**wanted):
    spec = {"name": "wrist", "width_px": 84, "height_px": 84, "rate_hz": 30.0} | wanted
    check_agreement(OPENED, [CameraSpec(**spec)], opened="cameras.yaml", asked="robot.yaml")


def test_a_smaller_image_at_a_lower_rate_can_be_had_of_a_camera():
    check()
    check(rate_hz=10.0, width_px=640, height_px=480)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"name": "front"}, "robot.yaml observes camera 'front', but cameras.yaml opens wrist"),
        ({"width_px": 800}, "at 800 x 84 px, but cameras.yaml opens it at 640 x 480 px"),
        ({"rate_hz": 60.0}, "expects 60 images a second of camera 'wrist', but .* 30 Hz"),
    ],
)
def test_two_files_that_disagree_are_refused(wanted, complaint):
    with pytest.raises(ConfigError, match=complaint):
        check(**wanted)
