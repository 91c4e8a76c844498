import numpy as np
import pytest

from calibration.latency import LatencyCfg, calibrate_latency
from robot_rl.errors import ConfigError, DataError
from sim.calibration_world import Faults, draw_world, wiggle


def record(world, seconds=5.0, hz=15.0, seed=0, scale=1.0):
    """Views and stamps of a swinging arm, and the joints' own record."""
    rng = np.random.default_rng(seed)

    def swing(t):
        q = wiggle(world, t, seed)
        return q.mean(0) + scale * (q - q.mean(0)) if scale != 1.0 else q

    joints_s = np.arange(0.0, seconds + 0.7, 0.01)
    read = swing(joints_s) + np.deg2rad(0.01) * rng.normal(size=(len(joints_s), 7))
    stamps = np.arange(0.55, seconds + 0.5, 1 / hz)
    seen = [
        world.see(world.true_joints(q, rng), rng) for q in swing(stamps - world.faults.delay_s)
    ]
    kept = [i for i, view in enumerate(seen) if view is not None]
    return [seen[i] for i in kept], stamps[kept], joints_s, read


def calibrate(world, views, stamps, joints_s, joints, cfg=None):
    return calibrate_latency(
        world.camera,
        world.board,
        world.mount,
        world.forward,
        views,
        stamps,
        joints_s,
        joints,
        world.X,
        world.offset_rad,
        cfg,
    )


@pytest.mark.parametrize(
    ("mount", "delay_s"), [("hand", 0.013), ("hand", 0.12), ("world", 0.047), ("world", -0.02)]
)
def test_the_delay_is_found(mount, delay_s):
    world = draw_world(mount, 1, faults=Faults(delay_s=delay_s))
    found = calibrate(world, *record(world))
    assert abs(found.delay_s - delay_s) < min(5 * found.std_s, 5e-4)
    assert abs(found.halves_s) < 1e-3
    assert found.with_px < found.without_px


def test_a_jerk_in_one_image_does_not_draw_the_delay():
    world = draw_world("hand", 1, faults=Faults(delay_s=0.03))
    views, stamps, joints_s, joints = record(world)
    jerked = calibrate(world, [views[3], *views[1:]], stamps, joints_s, joints)
    assert abs(jerked.delay_s - 0.03) < 5e-4 and abs(jerked.halves_s) < 1e-3
    assert len(jerked.view_px) == len(views) - 1, "it is left out"


def test_a_swing_too_small_is_refused():
    world = draw_world("hand", 0)
    for scale in (0.0, 0.002, 0.01):
        with pytest.raises(DataError, match="the arm moved too little"):
            calibrate(world, *record(world, scale=scale))


def test_a_swing_of_a_moment_among_pauses_is_refused():
    world = draw_world("hand", 0)
    views, stamps, joints_s, joints = record(world)
    pause = joints_s > 1.2
    joints[pause] = joints[np.flatnonzero(pause)[0]]
    rng = np.random.default_rng(0)
    still = [world.see(world.true_joints(joints[-1], rng), rng) for _ in stamps]
    seen = [b if t > 1.25 else a for a, b, t in zip(views, still, stamps, strict=True)]
    with pytest.raises(DataError, match=r"rests on \d+ of \d+ images; .* without pauses"):
        calibrate(world, seen, stamps, joints_s, joints)


def test_stamps_of_another_clock_are_refused():
    world = draw_world("hand", 0)
    views, stamps, joints_s, joints = record(world)
    with pytest.raises(DataError, match=r"^0 images .* are both stamps of one clock"):
        calibrate(world, views, stamps + 1e9, joints_s, joints)
    joints_s[200:] -= 0.5
    with pytest.raises(DataError, match="joint stamps must increase, but reading 200"):
        calibrate(world, views, stamps, joints_s, joints)


def test_a_delay_outside_the_window_is_refused():
    world = draw_world("hand", 0, faults=Faults(delay_s=0.25))
    cfg = LatencyCfg(latest_s=0.1)
    with pytest.raises(DataError, match="lies at the end of what was tried"):
        calibrate(world, *record(world), cfg)


def test_too_little_is_refused():
    world = draw_world("hand", 0)
    views, stamps, joints_s, joints = record(world)
    with pytest.raises(DataError, match="but 30 are needed"):
        calibrate(world, views[:10], stamps[:10], joints_s, joints)
    with pytest.raises(DataError, match="there are 5 joint readings"):
        calibrate(world, views, stamps, joints_s[:5], joints[:5])
    with pytest.raises(ConfigError, match="must be below latest_s"):
        LatencyCfg(earliest_s=0.5)
