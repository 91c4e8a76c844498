import json
from pathlib import Path

import numpy as np
import pytest

from calibration.store import Result, Rig, save_result
from robot_rl.errors import ConfigError, DataError, UnknownNameError

CAMERA = {
    "width_px": 640,
    "height_px": 480,
    "fx_px": 600.0,
    "fy_px": 601.0,
    "cx_px": 320.0,
    "cy_px": 240.0,
    "distortion": [0.1, 0.0, 0.0, 0.0, 0.0],
}


def result(name="wrist", fx=600.0):
    return Result.new("intrinsics", name, CAMERA | {"fx_px": fx}, {"rms_px": 0.1})


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    saved = Result.new(
        "hand_eye", "wrist", {"T_tcp_cam": np.eye(4), "mount": "hand"}, {"rms_px": 1}
    )
    save_result(tmp_path, saved)
    back = Rig.load(tmp_path).get("hand_eye", "wrist")
    assert back == saved and back.hash == saved.content_hash() and back.mount == "hand"
    np.testing.assert_array_equal(back.transform("T_tcp_cam"), np.eye(4))


def test_versions_pile_up_and_the_newest_is_in_force(tmp_path):
    paths = [save_result(tmp_path, result(fx=600.0 + i)) for i in range(3)]
    assert [p.name for p in paths] == ["v0001.json", "v0002.json", "v0003.json"]
    assert Rig.load(tmp_path).get("intrinsics", "wrist").camera.fx_px == 602.0
    paths[-1].unlink()
    assert Rig.load(tmp_path).get("intrinsics", "wrist").camera.fx_px == 601.0


def test_the_hash_of_a_rig_names_what_is_in_force(tmp_path):
    assert Rig(path=tmp_path, results={}).hash == ""
    save_result(tmp_path, result())
    first = Rig.load(tmp_path)
    save_result(tmp_path, result("front"))
    second = Rig.load(tmp_path)
    assert first.hash != second.hash
    assert first.camera_hash("wrist") == second.camera_hash("wrist") != ""
    assert first.camera_hash("front") == ""


def test_the_lens_in_force_is_the_one_that_the_cameras_place_was_found_with(tmp_path):
    intrinsics = result()
    save_result(tmp_path, intrinsics)
    assert Rig.load(tmp_path).lens("wrist").fx_px == 600.0
    corrected = {"mount": "hand", "camera": CAMERA | {"fx_px": 600.4}}
    rests_on = {"intrinsics_hash": intrinsics.hash}
    save_result(tmp_path, Result.new("hand_eye", "wrist", corrected, {}, rests_on))
    assert Rig.load(tmp_path).lens("wrist").fx_px == 600.4
    save_result(tmp_path, result(fx=602.0))  # measured anew, and hand-eye not yet
    assert Rig.load(tmp_path).lens("wrist").fx_px == 602.0


def test_an_edited_file_is_refused(tmp_path):
    path = save_result(tmp_path, result())
    data = json.loads(path.read_text())
    data["values"]["fx_px"] = 601.5
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="was edited"):
        Rig.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"format": 7}', "format 7"),
        ('{"format": 1}', "misses the field"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    save_result(tmp_path, result()).write_text(text)
    with pytest.raises(DataError, match=message):
        Rig.load(tmp_path)


def test_a_file_in_the_wrong_folder_is_refused(tmp_path):
    path = save_result(tmp_path, result())
    path.parent.rename(tmp_path / "intrinsics-front")
    with pytest.raises(DataError, match="holds intrinsics of 'wrist', but lies in the folder of"):
        Rig.load(tmp_path)


def test_what_was_never_measured_is_named(tmp_path):
    save_result(tmp_path, result())
    with pytest.raises(UnknownNameError, match="Available: wrist"):
        Rig.load(tmp_path).get("intrinsics", "front")
    with pytest.raises(DataError, match="there is no calibration at"):
        Rig.load(tmp_path / "none")
    with pytest.raises(ConfigError, match="lower-case letters"):
        Result.new("intrinsics", "../x", {}, {})


def test_the_example_rig_is_whole():
    rig = Rig.load(Path(__file__).parents[2] / "calibration" / "rigs" / "example")
    assert {kind for kind, _ in rig.results} == {"intrinsics", "hand_eye", "latency", "joints"}
    assert rig.get("hand_eye", "wrist").mount == "hand"
    assert rig.get("hand_eye", "front").mount == "world"
    for camera in ("wrist", "front"):
        used = rig.get("hand_eye", camera).inputs["intrinsics_hash"]
        assert used == rig.get("intrinsics", camera).hash
