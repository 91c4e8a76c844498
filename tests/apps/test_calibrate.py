import html
import json
import re

import numpy as np
import pytest

from calibration.store import Rig
from robot_rl.apps import cli
from robot_rl.apps.calibrate import main
from robot_rl.apps.report import write_report
from robot_rl.learn.record import RunRecord


def says(capsys, *args):
    """Exit code and all that was printed."""
    code = main([str(arg) for arg in args])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrate") / "session"
    assert main(["twin", str(path), "--no-images", "--views", "24"]) == 0
    return path


@pytest.fixture(scope="module")
def rig(session):
    path = session.parent / "rig"
    for step in ("intrinsics", "hand-eye", "latency", "joints"):
        assert main([step, str(session), "--rig", str(path)]) == 0
    return path


def test_every_step_finds_the_truth_of_the_twin(session, rig):
    truth, found = json.loads((session / "truth.json").read_text()), Rig.load(rig)
    assert found.get("intrinsics", "wrist").camera.fx_px == pytest.approx(
        truth["camera"]["fx_px"], rel=2e-3
    )
    assert found.get("latency", "wrist").values["delay_s"] == pytest.approx(0.03, abs=5e-4)
    hand_eye = found.get("hand_eye", "wrist")
    told = np.array(hand_eye.values["joint_offset_observable"])
    off = np.array(hand_eye.values["joint_offset_rad"]) - np.array(truth["offset_rad"])
    assert told.sum() == 5 and np.abs(off[told]).max() < np.deg2rad(0.03)
    leader = found.get("joints", "arm").values
    assert leader["sign"] == truth["leader"]["sign"]
    np.testing.assert_allclose(leader["offset_rad"], truth["leader"]["offset_rad"], atol=0.01)


def test_results_name_those_that_they_rest_on(rig):
    found = Rig.load(rig)
    intrinsics, hand_eye = found.get("intrinsics", "wrist"), found.get("hand_eye", "wrist")
    assert hand_eye.inputs["intrinsics_hash"] == intrinsics.hash
    assert found.get("latency", "wrist").inputs["hand_eye_hash"] == hand_eye.hash
    assert re.fullmatch("[0-9a-f]{12}", found.hash)


def test_the_page_says_how_good_it_is_and_why(session, rig, tmp_path, capsys):
    out = tmp_path / "page.html"
    code, said = says(capsys, "report", session, "--rig", rig, "--out", out)
    assert code == 0 and str(out) in said
    page = out.read_text()
    for words in (
        "held-out error",
        "Kinematics, of the kind that was mended",
        "Coverage, and residuals",
        "in the camera's pose",
        "Delay of each image",
        "Against the twin's truth",
        Rig.load(rig).hash,
    ):
        assert words in html.unescape(page), words
    assert "http" not in re.sub(r"data:[^\"]+", "", page)


def test_rendered_views_are_calibrated_and_drawn_over(tmp_path, capsys):
    session, rig = tmp_path / "s", tmp_path / "r"
    made = says(capsys, "twin", session, "--mount", "world", "--views", "16", "--swing-s", "0")
    assert made[0] == 0
    assert says(capsys, "intrinsics", session, "--rig", rig)[0] == 0
    code, said = says(capsys, "hand-eye", session, "--rig", rig)
    assert code == 0 and "T_base_cam" in said
    error_mm = float(re.search(r"camera position error \[mm\] \+([\d.]+)", said)[1])
    assert error_mm < 1.0
    assert says(capsys, "report", session, "--rig", rig)[0] == 0
    page = (session / "calibration-front.html").read_text()
    assert page.count("data:image/jpeg;base64") == 3 and "Look for yourself" in page


def test_steps_out_of_order_say_which_comes_first(session, tmp_path, capsys):
    code, said = says(capsys, "hand-eye", session, "--rig", tmp_path / "new")
    assert code == 2 and "First: robot-rl calibrate intrinsics" in said
    assert says(capsys, "intrinsics", session, "--rig", tmp_path / "new")[0] == 0
    code, said = says(capsys, "latency", session, "--rig", tmp_path / "new")
    assert code == 2 and "First: robot-rl calibrate hand-eye" in said


def test_another_device_of_the_same_name_is_refused(rig, tmp_path, capsys):
    other = tmp_path / "other"
    assert main(["twin", str(other), "--no-images", "--seed", "5", "--swing-s", "0"]) == 0
    code, said = says(capsys, "hand-eye", other, "--rig", rig)
    assert code == 2 and "are those of device twin0, but" in said and "Cameras mixed up" in said


def test_a_board_is_written(tmp_path, capsys):
    out = tmp_path / "board.pdf"
    code, said = says(capsys, "board", out, "--board.columns", "6", "--paper", "letter")
    assert code == 0 and "6 x 6 squares of 30 mm" in said
    assert out.read_bytes().startswith(b"%PDF")
    code, said = says(capsys, "board", out, "--board.columns", "12")
    assert code == 2 and "does not fit on a4" in said


def test_what_is_not_there_is_named(session, tmp_path, capsys):
    code, said = says(capsys, "intrinsics", tmp_path)
    assert code == 2 and "robot-rl calibrate twin" in said
    code, said = says(capsys, "intrinsics", session, "--camera", "left")
    assert code == 2 and "Available: wrist" in said


def test_a_run_keeps_the_hash_of_its_calibration(rig, tiny, tiny_demos, tmp_path):
    words = "--method base --eval-episodes 2 --videos 0 --steps 20 --bc.steps 20 --bc.checks 1"
    out = tmp_path / "run"
    where = ["--env", tiny, "--demos", str(tiny_demos), "--out", str(out), "--rig", str(rig)]
    assert (
        cli.main(["train", *where, *words.split(), "--bc.members", "2", "--bc.width", "16"]) == 0
    )
    assert RunRecord.read(out).about["calibration"] == Rig.load(rig).hash
    assert Rig.load(rig).hash in write_report(out).read_text()
