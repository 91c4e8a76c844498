import mujoco
import numpy as np
import pytest
from small_arm import SHORT, short_motion, unknowns

from robot_rl.errors import ConfigError, DataError, ShapeError
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.clearance import Clearance
from sim.identify.excitation import find_motion, information, logdet
from sim.identify.hidden import nominal_arm
from sim.identify.motion import ExcitationCfg, Motion, approach, check_motion, stopping_points
from sim.identify.play import play_motion


@pytest.fixture(scope="module")
def clearance() -> Clearance:
    spec, robot = nominal_arm()
    return Clearance(spec.compile(), robot)


@pytest.mark.parametrize("seed", range(4))
def test_motions_keep_every_limit(seed: int, clearance: Clearance) -> None:
    spec, robot = nominal_arm()
    cfg = ExcitationCfg(duration_s=4.0)
    motion = find_motion(spec, robot, None, cfg, seed=seed)
    q, arm = motion.q_rad, robot.arms[0]
    dq = np.diff(q, axis=0) / BRIDGE_PERIOD_S
    ddq = np.diff(dq, axis=0) / BRIDGE_PERIOD_S
    assert (q > arm.joint_lower_rad + 0.1).all() and (q < arm.joint_upper_rad - 0.1).all()
    assert (np.abs(dq) <= 0.8 * arm.joint_velocity_limit_rad_s).all()
    assert (np.abs(ddq) <= 0.8 * arm.joint_acceleration_limit_rad_s2).all()
    assert clearance.least_m(q[::10])[0] >= cfg.clearance_m
    assert np.ptp(q, axis=0).min() > 0.1  # and every joint does move
    rest = round(cfg.rest_s / BRIDGE_PERIOD_S)
    np.testing.assert_array_equal(q[:rest], np.tile(arm.home_rad, (rest, 1)))
    np.testing.assert_array_equal(q[-rest:], np.tile(arm.home_rad, (rest, 1)))


def test_a_motion_that_may_brake_keeps_limits_wherever_it_would_come_to_stand(
    clearance: Clearance,
) -> None:
    spec, robot = nominal_arm()
    cfg = ExcitationCfg(duration_s=4.0)
    middle = robot.arms[0].home_rad + np.array([0, 0.6, 0, -0.1, 0, 0, 0])
    plain, careful = (
        find_motion(spec, robot, None, cfg, seed=1, middle_rad=middle, may_brake=may_brake)
        for may_brake in (False, True)
    )
    stops = stopping_points(robot, careful.q_rad)
    assert clearance.least_m(stops[::10])[0] >= cfg.clearance_m
    assert check_motion(robot, clearance, plain.q_rad, cfg, may_brake=True) is not None
    assert careful.peaks["range_rad"] < plain.peaks["range_rad"]


def test_the_way_to_a_motion_is_slow_and_ends_where_it_begins(clearance: Clearance) -> None:
    _, robot = nominal_arm()
    arm, cfg = robot.arms[0], ExcitationCfg()
    here = arm.home_rad + np.linspace(-0.4, 0.5, arm.dof)
    path = np.concatenate((here[None], approach(robot, clearance, here, arm.home_rad, cfg)))
    dq = np.diff(path, axis=0, prepend=path[:1], append=path[-1:]) / BRIDGE_PERIOD_S
    ddq = np.diff(dq, axis=0) / BRIDGE_PERIOD_S
    np.testing.assert_allclose(path[-1], arm.home_rad, atol=1e-12)
    assert (np.abs(dq) <= 0.2501 * arm.joint_velocity_limit_rad_s).all()
    assert (np.abs(ddq) <= 0.2501 * arm.joint_acceleration_limit_rad_s2).all()
    assert len(approach(robot, clearance, arm.home_rad, arm.home_rad, cfg)) == 1


def test_a_way_through_the_table_is_refused_with_what_to_do(clearance: Clearance) -> None:
    _, robot = nominal_arm()
    low = robot.arms[0].home_rad + np.array([0, 1.6, 0, 0.3, 0, 0.5, 0])
    with pytest.raises(DataError, match=r"where the arm stands.* violates .* Bring it nearer"):
        approach(robot, clearance, low, robot.arms[0].home_rad, ExcitationCfg())


def test_the_most_informative_candidate_is_chosen() -> None:
    spec, robot = nominal_arm()
    chosen = find_motion(spec, robot, unknowns(), ExcitationCfg(duration_s=2.5, candidates=3))
    same = find_motion(spec, robot, unknowns(), ExcitationCfg(duration_s=2.5, candidates=3))
    first = find_motion(spec, robot, None, ExcitationCfg(duration_s=2.5))
    np.testing.assert_array_equal(chosen.q_rad, same.q_rad)
    scores = [logdet(unknowns(), information(spec, unknowns(), m)) for m in (chosen, first)]
    assert scores[0] >= scores[1]


def test_what_is_in_the_way_is_named(clearance: Clearance) -> None:
    _, robot = nominal_arm()
    arm, still = robot.arms[0], np.tile(robot.arms[0].home_rad, (3, 1))
    assert check_motion(robot, clearance, still, SHORT) is None
    jump = np.add(still, [[0.0], [0.1], [0.0]])
    assert check_motion(robot, clearance, jump, SHORT) == "joint velocities"
    far = still.copy()
    far[:, 1] = arm.joint_upper_rad[1] - 0.01
    assert check_motion(robot, clearance, far, SHORT) == "joint ranges"
    away = still.copy()
    away[:, 0] = 2.0
    assert check_motion(robot, clearance, away, SHORT) is None  # it stood outside all along
    away[1:, 0] += 0.01 * np.arange(1, 3)
    assert check_motion(robot, clearance, away, SHORT) == "the workspace box of the tool"


def test_table_and_own_links_are_seen(clearance: Clearance) -> None:
    arm = nominal_arm()[1].arms[0]
    low, folded = arm.home_rad.copy(), arm.home_rad.copy()
    low[1], low[3] = 0.9, -2.0
    assert clearance.least_m(low[None])[0] < 0.03
    assert "table" in clearance.least_m(low[None])[1]
    folded[3], folded[5] = -3.05, 0.0
    assert clearance.least_m(folded[None])[0] < clearance.least_m(arm.home_rad[None])[0]


def test_a_middle_without_room_is_refused() -> None:
    spec, robot = nominal_arm()
    middle = robot.arms[0].home_rad.copy()
    middle[3] = -0.1
    with pytest.raises(DataError, match="already violates joint ranges"):
        find_motion(spec, robot, None, SHORT, middle_rad=middle)
    with pytest.raises(ShapeError, match=r"middle of the motion has shape \(2,\)"):
        find_motion(spec, robot, None, SHORT, middle_rad=middle[:2])


def test_settings_without_room_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"duration_s is 1\.5.*between two rests of 0\.5 s"):
        ExcitationCfg(duration_s=1.5)
    with pytest.raises(ConfigError, match=r"velocity_share is 2\.0, must be in \(0, 1\]"):
        ExcitationCfg(velocity_share=2.0)


def test_a_motion_survives_json() -> None:
    motion = short_motion()
    back = Motion.from_plain(motion.to_plain())
    np.testing.assert_array_equal(back.q_rad, motion.q_rad)
    assert back.joints == motion.joints


def test_what_is_played_is_what_the_drives_were_told() -> None:
    spec, robot = nominal_arm()
    measured = play_motion(spec.compile(), robot, short_motion(), seed=None)
    np.testing.assert_allclose(measured.command, short_motion().q_rad, atol=0.02)
    lag = np.abs(measured.position[1:] - measured.command).max()
    assert 0.005 < lag < 0.3


def test_safety_has_the_last_word() -> None:
    spec, robot = nominal_arm()
    q = short_motion().q_rad.copy()
    q[100:] += 0.2
    with pytest.raises(
        DataError, match=r"safety \(velocity_limit.*\) changed the motion at 1\.00 s"
    ):
        play_motion(spec.compile(), robot, Motion(joints=short_motion().joints, q_rad=q))


def test_contacts_are_off_where_nothing_may_touch() -> None:
    model = nominal_arm()[0].compile()
    assert model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CONTACT
