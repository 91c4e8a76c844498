import itertools

import numpy as np
import pytest

from calibration.board import BoardCfg
from calibration.guide import Guide, GuideCfg, _rarest
from calibration.session import Session
from robot_rl.errors import ConfigError
from robot_rl.geometry import matrix_from_rotvec
from sim.calibration_scene import CalibrationScene
from sim.calibration_world import draw_world, plan_views, wiggle

VIEWS = 6


def play(guide, scene, world, stops, *, image_hz=5.0):
    """Go from stop to stop, hold at each, then swing; returns all that was said."""
    rng, said, t = np.random.default_rng(0), [], 0.0
    shown = None

    def tick(q, is_image):
        nonlocal t
        t += 0.02
        guide.on_joints(t, q)
        if is_image and (words := guide.on_image(t, shown)):
            said.append(words)

    before = stops[0]
    for stop in stops:
        shown = scene.image(0.5 * (before + stop) + world.offset_rad, rng)
        for share in np.linspace(0, 1, 25)[1:]:
            tick((1 - share) * before + share * stop, share in (0.5, 1.0))
        shown = scene.image(stop + world.offset_rad, rng)
        for i in range(60):
            tick(stop, i % int(50 / image_hz) == 0)
        before = stop
    swing = wiggle(world, np.arange(0, 3, 0.02))
    shown = scene.image(swing[0] + world.offset_rad, rng)
    for i, q in enumerate([*swing[:30], *np.repeat(swing[29:30], 40, 0)]):  # and a pause
        tick(q, i % 10 == 0)
    assert not guide.is_done and said[-1].startswith("The arm stands still. Swing it")
    start = t
    for i, q in enumerate(swing):
        if guide.is_done:
            break
        if i % 10 == 0:
            shown = scene.image(q + world.offset_rad, rng)
        tick(q, i % 10 == 0)
    assert guide.is_done and t - start < 2.5
    return said


def test_a_view_is_taken_at_each_new_stop_and_then_the_swing(tmp_path):
    world = draw_world("hand", 0)
    stops = plan_views(world, VIEWS)
    stops = np.concatenate([stops[:3], stops[2:3], stops[3:]])  # one stop twice
    cfg = GuideCfg(
        camera="wrist",
        mount="hand",
        joint_names=world.arm.joint_names,
        board=world.board,
        views=VIEWS,
        swing_s=1.5,
        swing_hz=5.0,
    )
    guide, scene = Guide(tmp_path / "s", cfg), CalibrationScene(world)
    try:
        said = play(guide, scene, world, stops)
    finally:
        scene.close()
    session = Session.open(tmp_path / "s")
    q = np.array([view.q_rad for view in session.views("wrist")])
    assert len(q) == VIEWS
    distance = np.abs(q[:, None] - stops[None]).max(-1).min(1)
    assert distance.max() < 1e-6, "every view was taken where the arm stood still"
    assert len(session.views("wrist", moving=True)) >= 5
    stamps, joints = session.joints()
    assert len(stamps) > 70 and np.abs(np.diff(joints, axis=0)).max() > 0
    assert any("hold still" in words for words in said)
    assert any("Now swing the arm" in words for words in said)
    moving = [view.stamp_s for view in session.views("wrist", moving=True)]
    assert np.ptp(moving) < cfg.swing_s + 0.1, "what was before the pause was thrown away"
    assert said[-1].startswith("The swing is recorded")
    assert all(a != b for a, b in itertools.pairwise(said))


def test_nothing_is_taken_without_a_board(tmp_path):
    cfg = GuideCfg(camera="wrist", mount="hand", joint_names=("a",))
    guide = Guide(tmp_path / "s", cfg)
    for i in range(100):
        guide.on_joints(0.02 * i, np.zeros(1))
    said = guide.on_image(1.9, np.zeros((48, 64, 3), np.uint8))
    assert guide.taken == 0 and "The board is not seen from here" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera": "/wrist/color/image_raw"}, "the name must be lower-case letters"),
        ({"views": 3}, "views is 3"),
        ({"still_s": 0.0}, "still_s, still_rad, .* must be positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        GuideCfg(**({"camera": "wrist", "mount": "hand", "joint_names": ("a",)} | change))


def test_what_was_shown_least_is_asked_for():
    lean = 0.5
    normal = np.array([[lean, 0, 0.87], [-lean, 0, 0.87], [0, -lean, 0.87]])
    asked = _rarest(np.array([1.2, 2.2, 1.2]), normal)
    assert asked == "Show the board with its lower edge nearer"
    tilted = np.vstack([normal, [[0, lean, 0.87]]])
    assert _rarest(np.full(4, 1.2), tilted) == "Take the board farther away"


def test_the_edge_that_is_named_is_the_nearer_one():
    points = BoardCfg().corners_m
    T = np.eye(4)
    T[:3, :3] = matrix_from_rotvec(np.array([0.0, -0.5, 0.0]))
    normal, seen = T[:3, 2], points @ T[:3, :3].T
    right = seen[:, 0] > np.median(seen[:, 0])
    assert (seen[right, 2].mean() < seen[~right, 2].mean()) == (normal[0] > 0)
