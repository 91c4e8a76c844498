import numpy as np
import pytest

from calibration.board import BoardCfg
from calibration.chain import LENS, SHARED, Chain, State
from calibration.closed_form import arm_transform, camera_error, consistent_views, solve
from calibration.detect import board_pose
from calibration.hand_eye import HandEyeCfg, calibrate_hand_eye
from calibration.refinement import Noise, refine
from robot_rl.errors import ConfigError, DataError
from robot_rl.geometry import matrix_from_rotvec, rotvec_from_matrix
from sim.calibration_world import Faults, draw_world, plan_views

MOUNTS = ("hand", "world")


def record(world, count=20, seed=0, q=None):
    """Encoder readings and what the camera saw there."""
    rng = np.random.default_rng(seed + 1000)
    q = plan_views(world, count, seed) if q is None else q
    seen = [(one, world.see(world.true_joints(one, rng), rng)) for one in q]
    kept = [(one, view) for one, view in seen if view is not None]
    return np.stack([one for one, _ in kept]), [view for _, view in kept]


def calibrate(world, q, views, cfg=None, mount=None, board=None):
    mount, board = mount or world.mount, board or world.board
    return calibrate_hand_eye(world.camera, board, mount, world.forward, views, q, cfg)


def errors(world, X, offset):
    """[m] and [rad]."""
    E = camera_error(world.mount, world.forward, (X, offset), (world.X, world.offset_rad))
    return np.linalg.norm(E[:3, 3]), np.linalg.norm(rotvec_from_matrix(E[:3, :3]))


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_closed_form_is_exact_without_noise(mount):
    world = draw_world(mount, 0, faults=Faults(joint_offset_deg=0, joint_noise_deg=0, corner_px=0))
    q, views = record(world, 8)
    B = np.stack([board_pose(world.camera, view, world.board)[0] for view in views])
    found = solve(arm_transform(mount, world.forward(q)), B)
    np.testing.assert_allclose(found.X, world.X, atol=1e-5)
    np.testing.assert_allclose(found.Z, world.Z, atol=1e-5)
    assert found.scale == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("mount", MOUNTS)
def test_derivatives_of_the_chain_are_those_of_finite_differences(mount):
    world = draw_world(mount, 1)
    q, views = record(world, 5)
    chain = Chain.build(world.camera, world.board, mount, world.forward, views, q)
    state = State.start(world.X, world.Z, *q.shape)
    shared, joints = chain.jacobian(state)
    every = np.concatenate([shared, joints, chain.lens_jacobian(state)], axis=-1)
    total, h = SHARED + q.shape[1] + LENS, 1e-6
    for i in range(total):
        step = h * np.eye(total)[i]
        none = np.zeros(q.shape)
        # residuals are seen minus predicted
        difference = chain.residuals(state.moved(-step, none)) - chain.residuals(
            state.moved(step, none)
        )
        exact = every[..., i] * chain.weight[..., None]
        np.testing.assert_allclose(difference / (2 * h), exact, atol=2e-3)


@pytest.mark.parametrize("mount", MOUNTS)
def test_joint_offsets_are_found_and_do_not_move_the_camera(mount):
    world = draw_world(mount, 0)
    q, views = record(world)
    found = calibrate(world, q, views)
    position, rotation = errors(world, found.X, found.offset_rad)
    assert position < 3e-4 and rotation < np.deg2rad(0.03)
    assert found.observable.tolist() == [False, True, True, True, True, True, False]
    off = np.abs(found.offset_rad - world.offset_rad)[found.observable]
    assert off.max() < np.deg2rad(0.02)
    assert (off < 5 * found.offset_std_rad[found.observable]).all()
    assert found.diagnosis.startswith("Kinematics, of the kind that was mended")
    assert found.held_out_m < 5e-4 and found.scale == pytest.approx(1.0, abs=1e-3)
    start = solve(
        arm_transform(mount, world.forward(q)),
        np.stack([board_pose(world.camera, view, world.board)[0] for view in views]),
    )
    assert errors(world, start.X, np.zeros(7))[0] > 3 * position


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_arms_motion_corrects_the_lens(mount):
    world = draw_world(mount, 0)
    q, views = record(world)
    std = np.array([0.5, 0.5, 0.7, 0.7, 1e-3, 3e-3, 1e-4, 1e-4, 0.0])
    given = world.camera.moved(std)
    found, trusting = (
        calibrate_hand_eye(given, world.board, mount, world.forward, views, q, lens_std=known)
        for known in (std, None)
    )
    off = (found.camera.parameters - world.camera.parameters)[:4]
    assert (np.abs(off) < np.minimum(5 * found.lens_std[:4], 0.7 * std[:4])).all()
    assert (
        errors(world, found.X, found.offset_rad)[1]
        < 0.5 * errors(world, trusting.X, trusting.offset_rad)[1]
    )
    assert trusting.camera == given and found.camera.distortion[4] == given.distortion[4]


def test_with_perfect_joints_there_is_nothing_to_mend():
    world = draw_world("hand", 2, faults=Faults(joint_offset_deg=0, joint_noise_deg=0))
    found = calibrate(world, *record(world))
    assert found.diagnosis.startswith("Nothing to mend")
    assert errors(world, found.X, found.offset_rad)[0] < 2e-4


def test_poor_pixels_are_told_from_poor_joints():
    world = draw_world("hand", 2, faults=Faults(joint_offset_deg=0.1, corner_px=0.6))
    found = calibrate(world, *record(world))
    assert found.diagnosis.startswith("Pixels")


def test_without_slack_arm_noise_moves_the_camera():
    gain = []
    for seed in range(4):
        world = draw_world("hand", seed, faults=Faults(joint_offset_deg=0, joint_noise_deg=0.03))
        q, views = record(world)
        chain = Chain.build(world.camera, world.board, "hand", world.forward, views, q)
        start = State.start(world.X, world.Z, *q.shape)
        off = [
            errors(
                world,
                refine(
                    chain, start, Noise(corner_px=0.05, joint_rad=joint_rad, offset_rad=0)
                ).state.X,
                np.zeros(7),
            )[0]
            for joint_rad in (0.0, np.deg2rad(0.03))
        ]
        gain.append(off[0] / off[1])
    assert np.median(gain) > 1.5


def test_deviations_are_honest():
    scores = []
    for seed in range(4):
        world = draw_world("hand", seed)
        found = calibrate(world, *record(world, seed=seed))
        true = world.X, world.offset_rad
        E = camera_error("hand", world.forward, (found.X, found.offset_rad), true)
        position = np.abs(E[:3, 3])
        scores.append(position / found.std[:3])
    assert 0.3 < np.sqrt(np.mean(np.square(scores))) < 2.0


def test_a_bumped_view_is_left_out():
    world = draw_world("hand", 4)
    q, views = record(world)
    q[7, 3] += np.deg2rad(0.5)
    found = calibrate(world, q, views)
    assert found.dropped.tolist() == [7]
    assert errors(world, found.X, found.offset_rad)[0] < 3e-4


def test_too_few_views_are_refused():
    world = draw_world("hand", 0)
    with pytest.raises(DataError, match="found in 4 views with joint positions, but 8 are needed"):
        calibrate(world, *record(world, 4))


def test_turning_about_one_axis_is_refused():
    world = draw_world("hand", 0, faults=Faults(joint_noise_deg=0))
    q = np.tile(plan_views(world, 1)[0], (16, 1))
    q[:, 6] += np.linspace(-0.4, 0.4, 16)
    with pytest.raises(DataError, match=r"degenerate: .* turned about one axis only"):
        calibrate(world, *record(world, q=q))
    q[:, 6] = q[0, 6]
    with pytest.raises(DataError, match=r"degenerate: .* hardly turned"):
        calibrate(world, *record(world, q=q))


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_board_printed_in_another_size_is_refused_with_its_size(mount):
    world = draw_world(mount, 1)
    q, views = record(world)
    said = BoardCfg(square_m=0.029, marker_m=0.021)
    with pytest.raises(DataError, match=r"said to measure 29 mm, but .* they have (29\.9|30\.0)"):
        calibrate(world, q, views, board=said)


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_camera_of_the_other_mount_is_told(mount):
    world = draw_world(mount, 0)
    other = "world" if mount == "hand" else "hand"
    with pytest.raises(DataError, match=f"but 20 fit mount '{mount}'. Cameras mixed up"):
        calibrate(world, *record(world), mount=other)


def test_views_of_a_second_camera_are_refused_and_named():
    world, second = draw_world("world", 0), draw_world("world", 5)
    second = type(second)(**(vars(world) | {"X": second.X}))
    q, views = record(world, 24)
    _, other = record(second, q=q[12:], seed=1)
    with pytest.raises(DataError, match="cameras mixed up, was the board or the camera moved"):
        calibrate(world, q[: 12 + len(other)], [*views[:12], *other])


@pytest.mark.parametrize("mount", MOUNTS)
def test_joints_a_degree_off_are_not_taken_for_another_camera(mount):
    for seed in range(3):
        world = draw_world(mount, seed, faults=Faults(joint_offset_deg=1.3))
        found = calibrate(world, *record(world, seed=seed))
        assert len(found.dropped) == 0
        assert errors(world, found.X, found.offset_rad)[0] < 6e-4


@pytest.mark.parametrize(("shift_m", "turn_rad"), [(0.01, 0.0), (0.0, 0.03), (0.04, 0.1)])
def test_a_camera_that_was_bumped_half_way_is_refused(shift_m, turn_rad):
    world = draw_world("world", 0)
    moved = world.X.copy()
    moved[:3, 3] += shift_m
    moved[:3, :3] = moved[:3, :3] @ matrix_from_rotvec(np.array([turn_rad, 0.0, 0.0]))
    bumped = type(world)(**(vars(world) | {"X": moved}))
    q, views = record(world)
    _, later = record(bumped, q=q[10:], seed=1)
    with pytest.raises(DataError, match="the board or the camera moved"):
        calibrate(world, q[: 10 + len(later)], [*views[:10], *later])


def test_an_arm_with_play_is_calibrated_once_that_is_said():
    world = draw_world("hand", 0, faults=Faults(joint_noise_deg=0.3))
    q, views = record(world)
    with pytest.raises(DataError, match=r"scatter by 0\.\d+ degrees .* say so by joint_noise_deg"):
        calibrate(world, q, views)
    found = calibrate(world, q, views, HandEyeCfg(joint_noise_deg=0.3))
    assert errors(world, found.X, found.offset_rad)[0] < 5 * np.linalg.norm(found.std[:3])


def test_intrinsics_of_another_camera_are_refused():
    world = draw_world("hand", 0)
    wrong = type(world.camera)(**(vars(world.camera) | {"fx_px": 450.0, "cx_px": 250.0}))
    q, views = record(world)
    with pytest.raises(DataError, match="Are these the intrinsics of this camera"):
        calibrate_hand_eye(wrong, world.board, "hand", world.forward, views, q)


def test_consistent_views_are_found_among_many_wrong_ones():
    world = draw_world("hand", 3)
    q, views = record(world)
    B = np.stack([board_pose(world.camera, view, world.board)[0] for view in views])
    B[[2, 5, 6, 11]] = B[[3, 6, 7, 12]]
    found = consistent_views(arm_transform("hand", world.forward(q)), B)
    assert set(found) == set(range(20)) - {2, 5, 6, 11}


def test_thresholds_that_no_calibration_can_stand_on_are_refused():
    with pytest.raises(ConfigError, match="fewest_views is 3"):
        HandEyeCfg(fewest_views=3)
    with pytest.raises(ConfigError, match="joint_noise_deg is 0"):
        HandEyeCfg(joint_noise_deg=0.0)
