import numpy as np
import pytest

from robot_rl.env.conformance import check_port
from robot_rl.errors import PortError, UnknownNameError
from sim.cameras import CameraRig
from sim.tasks import TASKS, make_env, make_port


@pytest.mark.parametrize("name", TASKS)
def test_pixel_form_gives_two_pictures_and_no_tracked_pose(name):
    env = make_env(name, pixels=True)
    obs, _ = env.reset(seed=0)
    assert set(obs) == {"state", "front", "wrist"}
    arms, grippers = len(env.port.spec.arms), env.port.spec.num_grippers
    assert obs["state"].shape == (arms * (7 + 7 + 9) + grippers,)
    for camera in ("front", "wrist"):
        assert obs[camera].shape == (84, 84, 3) and obs[camera].dtype == np.uint8
        assert obs[camera].std() > 10
    env.close()


def test_a_twin_with_cameras_is_a_robot_port():
    check_port(lambda: make_port("reach", pixels=True, image_px=32))


def test_pictures_show_where_the_object_stands_in_this_episode():
    port = make_port("pick-lift", pixels=True)
    port.connect()
    pictures = []
    for seed in (1, 2, 1):
        port.reset(seed)
        pictures.append(port.read().images["front"].rgb.astype(int))
    red = [(p[..., 0] - p[..., 2] > 90) & (p[..., 0] - p[..., 1] > 90) for p in pictures]
    assert all(20 < mask.sum() < 1000 for mask in red)
    assert not np.array_equal(red[0], red[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])
    port.close()


def test_a_picture_is_rendered_once_a_tick_and_stamped_with_it():
    port = make_port("reach", pixels=True, image_px=16)
    port.connect()
    first, again = port.read().images["front"], port.read().images["front"]
    assert first is again
    port.clock.sleep_until(port.clock.now() + 0.01)
    newer = port.read().images["front"]
    assert newer.frame_number == first.frame_number + 1
    assert newer.stamp_s == pytest.approx(first.stamp_s + 0.01)
    port.close()


def test_rendering_does_not_change_the_physics():
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 3)).astype(np.float32)
    seen = []
    for is_filmed in (False, True):
        env = make_env("push")
        env.reset(seed=2)
        for action in actions:
            obs, *_ = env.step(action)
            if is_filmed:
                assert env.port.render(width_px=64, height_px=48).shape == (48, 64, 3)
        seen.append(obs)
        env.close()
    np.testing.assert_array_equal(*seen)


def test_an_unknown_camera_is_named_with_those_that_exist():
    port = make_port("peg")
    port.connect()
    with pytest.raises(UnknownNameError, match=r"unknown camera 'back'. Available: front, wrist"):
        port.render("back")
    port.close()


def test_a_closed_rig_says_so():
    port = make_port("peg")
    port.connect()
    rig = CameraRig(port.model, 8, 8)
    rig.close()
    rig.close()
    with pytest.raises(PortError, match="the cameras of the twin are closed"):
        rig.render(port.data, "front")
