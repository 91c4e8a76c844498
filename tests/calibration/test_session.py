import numpy as np
import pytest

from calibration.board import BoardCfg
from calibration.detect import BoardView
from calibration.session import CameraEntry, Session, SessionCfg
from calibration.sheet import raster
from robot_rl.errors import ConfigError, DataError, UnknownNameError

NAMES = ("a", "b")
VIEW = BoardView(ids=np.arange(9), corners_px=np.arange(18.0).reshape(9, 2))


def cfg(**changes):
    camera = CameraEntry(mount="hand", width_px=60, height_px=40, serial="s1")
    return SessionCfg(joint_names=NAMES, cameras={"wrist": camera}, **changes)


@pytest.fixture
def session(tmp_path):
    return Session.create(tmp_path / "s", cfg())


def test_what_was_recorded_is_read_again(session):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 60, 3), np.uint8)
    session.add_view("wrist", 1.5, image=image, q_rad=np.array([0.1, -0.2]))
    session.add_view("wrist", 2.5, corners=VIEW)
    session.add_joints(0.0, np.zeros(2))
    session.add_joints(0.1, np.ones(2))
    session.add_pair(np.zeros(2), np.ones(2))
    session.add_truth({"delay_s": 0.01})
    back = Session.open(session.path)
    assert back.cfg == cfg()
    (still,), (moving,) = back.views("wrist"), back.views("wrist", moving=True)
    np.testing.assert_array_equal(back.image(still), image)
    np.testing.assert_array_equal(still.q_rad, [0.1, -0.2])
    np.testing.assert_array_equal(back.corners(moving).corners_px, VIEW.corners_px)
    np.testing.assert_array_equal(back.joints()[0], [0.0, 0.1])
    np.testing.assert_array_equal(back.pairs()[1], [[1.0, 1.0]])
    assert back.truth() == {"delay_s": 0.01}


def test_the_board_is_found_in_the_images(tmp_path):
    shown = raster(BoardCfg(), 2000.0, 0.02)
    entry = CameraEntry(mount="hand", width_px=shown.shape[1], height_px=shown.shape[0])
    session = Session.create(tmp_path, SessionCfg(joint_names=NAMES, cameras={"wrist": entry}))
    session.add_view("wrist", 0.0, image=shown, q_rad=np.zeros(2))
    session.add_view("wrist", 1.0, image=np.full_like(shown, 200), q_rad=np.zeros(2))
    views, corners = session.seen("wrist")
    assert [view.image for view in views] == ["wrist/00000.png"] and len(corners[0].ids) == 35


def test_a_line_that_was_cut_off_is_left_out_and_others_are_named(session):
    session.add_view("wrist", 1.5, corners=VIEW, q_rad=np.zeros(2))
    file = session.path / "views.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"camera": "wri')
    assert len(session.views("wrist")) == 1
    file.write_text('{"camera": "wri\n' + whole)
    with pytest.raises(DataError, match=r"views.jsonl, line 1 is damaged"):
        session.views("wrist")
    file.write_text('{"camera": "wrist"}\n')
    with pytest.raises(DataError, match=r"line 1 is damaged: 'stamp_s'"):
        session.views("wrist")


def test_images_of_another_camera_are_refused(session):
    with pytest.raises(DataError, match=r"gave 50 x 40 px, but has 60 x 40 .* Cameras mixed up"):
        session.add_view("wrist", 0.0, image=np.zeros((40, 50, 3), np.uint8))
    session.add_view("wrist", 0.0, corners=VIEW, q_rad=np.zeros(2))
    file = session.path / "views.jsonl"
    file.write_text(file.read_text().replace('"s1"', '"s2"'))
    with pytest.raises(DataError, match=r"by the device s2, but 'wrist' is s1. Cameras mixed up"):
        session.views("wrist")


def test_an_image_outside_the_folder_is_not_read(session, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    line = '{"camera": "wrist", "stamp_s": 0, "image": "../secret.png", "q_rad": [0, 0]}\n'
    (session.path / "views.jsonl").write_text(line)
    with pytest.raises(DataError, match="has no image in"):
        session.seen("wrist")


def test_what_does_not_fit_is_refused(session, tmp_path):
    with pytest.raises(DataError, match="holds a session already"):
        Session.create(session.path, cfg())
    with pytest.raises(DataError, match="holds no calibration session"):
        Session.open(tmp_path)
    with pytest.raises(UnknownNameError, match="Available: wrist"):
        session.views("front")
    with pytest.raises(ConfigError, match="session has format 2"):
        cfg(format=2)
    session.add_view("wrist", 0.0, corners=VIEW, q_rad=np.zeros(3))
    with pytest.raises(DataError, match="has 3 joints, but the session names 2"):
        session.views("wrist")
