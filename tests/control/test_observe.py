import numpy as np
import pytest

from robot_rl.control.franka import franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.control.observe import ObservationBuilder, ObserveCfg, proprioception
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import CameraSpec, Image, RobotState

SPEC = franka_like_spec(
    cameras=(CameraSpec(name="front", width_px=6, height_px=4, rate_hz=30.0),), tracked=("cube",)
)
FELT = 2 * 7 + 1 + 9


def state(number=0.0, *, stamp_s=0.0, image_s=0.0, rgb=None):
    rgb = np.zeros((4, 6, 3), np.uint8) if rgb is None else rgb
    return RobotState(
        stamp_s=stamp_s,
        q_rad=SPEC.arms[0].home_rad,
        dq_rad_s=np.zeros(7),
        gripper_m=np.array([0.04]),
        poses={"cube": np.array([number, 0, 0, 1, 0, 0, 0.0])},
        images={"front": Image(rgb=rgb, stamp_s=image_s, frame_number=0)},
    )


def task(features=lambda state: state.poses["cube"][:2].astype(np.float32)):
    return Task(
        name="see",
        instruction="look",
        control_hz=20.0,
        horizon=10,
        hold_s=0.0,
        features=features,
        feature_dim=2,
        achieved=lambda state: False,
    )


def builder(task=task(), **cfg):  # noqa: B008
    return ObservationBuilder(SPEC, task, ObserveCfg(**cfg))


def test_the_state_form_is_the_tasks_features():
    built = builder()
    observed = built.observe(state(3.0), now_s=0.05, step=0)
    assert observed.obs.dtype == np.float32
    np.testing.assert_array_equal(observed.obs, [3.0, 0.0])
    assert observed.age_s == pytest.approx(0.05) and not observed.is_stale
    assert built.state_dim == 2 and built.image_shapes == {}


@pytest.mark.parametrize(
    ("cfg", "dim"),
    [
        ({"use_proprioception": True}, FELT + 2),
        ({"frames": 3}, 6),
        ({"use_time": True}, 3),
        ({"frames": 2, "use_time": True, "use_proprioception": True}, 2 * (FELT + 2) + 1),
        ({"pixels": True}, FELT),
    ],
)
def test_the_declared_length_is_the_length(cfg, dim):
    built = builder(**cfg)
    obs = built.observe(state(), now_s=0.0, step=0).obs
    vector = obs["state"] if cfg.get("pixels") else obs
    assert built.state_dim == dim == len(vector)


def test_frames_stack_oldest_first_and_the_first_stands_for_the_past():
    built = builder(frames=3)
    seen = [built.observe(state(i), now_s=0.0, step=i).obs[::2].tolist() for i in (1.0, 2.0, 3.0)]
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3]]
    built.reset()
    assert built.observe(state(7.0), now_s=0.0, step=0).obs[::2].tolist() == [7, 7, 7]


def test_time_counts_down_over_the_horizon():
    built = builder(use_time=True)
    left = [built.observe(state(), now_s=0.0, step=step).obs[-1] for step in (0, 5, 10)]
    np.testing.assert_allclose(left, [1.0, 0.5, 0.0])


def test_pixel_form_sees_cameras_and_joints_but_never_a_privileged_pose():
    rgb = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    built = builder(pixels=True)
    here = built.observe(state(0.0, rgb=rgb), now_s=0.0, step=0).obs
    built.reset()
    there = built.observe(state(99.0, rgb=rgb), now_s=0.0, step=0).obs
    np.testing.assert_array_equal(here["state"], there["state"])
    np.testing.assert_array_equal(here["front"], rgb)
    assert set(here) == {"state", "front"}


def test_proprioception_ends_with_the_tools_place_and_two_of_its_axes():
    felt = proprioception(SPEC, state())
    T = forward(SPEC.arms[0], SPEC.arms[0].home_rad)
    np.testing.assert_allclose(felt[-9:-6], T[:3, 3], atol=1e-6)
    np.testing.assert_allclose(felt[-6:], T[:3, :2].T.ravel(), atol=1e-6)


def test_stale_data_is_refused_or_flagged_and_the_oldest_camera_counts():
    old = state(stamp_s=1.0, image_s=0.7)
    with pytest.raises(PortError, match=r"observation is 0\.300 s old, but at most 0\.2 s"):
        builder(pixels=True).observe(old, now_s=1.0, step=0)
    observed = builder(pixels=True, hold_when_stale=True).observe(old, now_s=1.0, step=0)
    assert observed.is_stale and observed.age_s == pytest.approx(0.3)
    # The state form does not look at the camera, so its age does not matter.
    assert not builder().observe(old, now_s=1.0, step=0).is_stale


def test_broken_data_is_refused_by_name():
    blind = RobotState(stamp_s=0.0, q_rad=np.zeros(7), dq_rad_s=np.zeros(7), gripper_m=np.zeros(1))
    with pytest.raises(PortError, match="camera 'front' gave no image; the state has none"):
        builder(pixels=True).observe(blind, now_s=0.0, step=0)
    with pytest.raises(NonFiniteError, match="robot state is not finite"):
        builder().observe(state(np.nan), now_s=0.0, step=0)
    small = state(rgb=np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ShapeError, match="image of camera 'front'"):
        builder(pixels=True).observe(small, now_s=0.0, step=0)
    with pytest.raises(ShapeError, match="task features"):
        builder(task(lambda s: np.zeros(5, np.float32))).observe(state(), now_s=0.0, step=0)
    with pytest.raises(ConfigError, match="frames is 0"):
        ObserveCfg(frames=0)
    with pytest.raises(ConfigError, match="pixels need a camera, but robot 'franka' has none"):
        ObservationBuilder(franka_like_spec(), task(), ObserveCfg(pixels=True))
