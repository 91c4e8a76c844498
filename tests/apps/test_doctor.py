"""The doctor says what is there, and for what is not, how to mend it."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from robot_rl.apps import cli, doctor
from robot_rl.apps.checks import cameras, ros, storage, timing, twin
from robot_rl.apps.checks.finding import Status
from robot_rl.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

SUBJECTS = {
    "python",
    "libraries",
    "extras",
    "processor",
    "torch",
    "gpu",
    "mujoco",
    "rendering",
    "usb cameras",
    "realsense",
    "ros",
    "disk",
    "clock",
}


def test_the_whole_examination_as_json(tmp_path, capsys):
    code = cli.main(["doctor", "--json", "--folder", str(tmp_path)])
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings.keys() >= SUBJECTS
    assert all(f["status"] in get_args(Status) and f["detail"] for f in findings.values())
    assert all(f["mend"] for f in findings.values() if f["status"] in ("slow", "broken"))
    assert code == int(any(f["status"] == "broken" for f in findings.values()))
    assert {findings[name]["status"] for name in ("python", "libraries", "torch")} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_the_table_shows_every_detail_and_every_mend(capsys, monkeypatch):
    findings = [
        doctor.Finding(name="thing", status="broken", detail="is [broken]", mend="mend it"),
        doctor.Finding(name="other", status="ok", detail="is well"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda cfg: findings)
    assert doctor.main(doctor.Cfg()) == 1
    text = capsys.readouterr().out
    assert all(word in text for word in ("is [broken]", "→ mend it", "✗", "is well", "✓"))


def test_a_folder_that_is_not_there_is_a_broken_disk(tmp_path):
    (finding,) = storage.check(tmp_path / "nothing")
    assert finding.status == "broken" and "--folder" in finding.mend


def test_disk_and_clock_give_figures(tmp_path):
    (disk,) = storage.check(tmp_path)
    assert "MB/s" in disk.detail and "fsync" in disk.detail
    (clock,) = timing.check()
    assert "resolution" in clock.detail


def test_a_backend_that_does_not_exist_is_told_in_one_line():
    answer = twin._probe("nonsense")
    assert isinstance(answer, str) and "\n" not in answer


def test_cameras_are_listed_with_their_names(tmp_path, monkeypatch):
    (tmp_path / "video0").touch()
    (tmp_path / "sys" / "video0").mkdir(parents=True)
    (tmp_path / "sys" / "video0" / "name").write_text("C920\n")
    monkeypatch.setattr(cameras, "DEV", tmp_path)
    monkeypatch.setattr(cameras, "SYS", tmp_path / "sys")
    found = cameras.check()[0]
    assert found.status == "ok" and "(C920)" in found.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open any device")
def test_a_camera_without_permission_names_the_group(tmp_path, monkeypatch):
    (tmp_path / "video0").touch(mode=0o000)
    monkeypatch.setattr(cameras, "DEV", tmp_path)
    found = cameras.check()[0]
    assert found.status == "broken" and "usermod -aG video" in found.mend


def test_another_environments_ros_is_told(monkeypatch):
    found = ros._without_rclpy({"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"})
    assert found.status == "broken" and found.mend.startswith("unset")


def test_ros_that_is_installed_but_not_sourced_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ros, "APT_ROOT", tmp_path)
    assert "pip install 'robot-rl[ros]'" in ros._without_rclpy({}).mend
    (tmp_path / "jazzy").mkdir()
    Path(tmp_path / "jazzy" / "setup.bash").touch()
    found = ros._without_rclpy({})
    assert found.status == "absent" and f"source {tmp_path}/jazzy/setup.bash" in found.mend


def test_the_ament_trap_of_the_wheels_is_told():
    found = ros._ros({}, "jazzy")
    assert found.status == "slow" and "export AMENT_PREFIX_PATH=" in found.mend
    assert ros._ros({"AMENT_PREFIX_PATH": "/x"}, "jazzy").status == "ok"


def test_rclpy_tells_its_distro_and_its_middleware():
    pytest.importorskip("rclpy", reason="needs rclpy")
    told = ros._load({})
    assert isinstance(told, dict) and told["rmw"].startswith("rmw_")


@pytest.mark.parametrize(
    ("environ", "distro", "status", "words"),
    [
        ({}, "jazzy", "absent", "export FASTRTPS_DEFAULT_PROFILES_FILE="),
        ({}, "kilted", "absent", "export FASTDDS_DEFAULT_PROFILES_FILE="),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "x"}, "jazzy", "absent", "but jazzy ignores it"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/nothing"}, "jazzy", "broken", "cannot be read"),
    ],
)
def test_a_transport_without_our_profile_is_told(environ, distro, status, words):
    found = ros._transport(environ, distro, "rmw_fastrtps_cpp")
    assert found.status == status and words in found.detail + found.mend


def test_our_profile_is_told_with_its_shared_memory():
    profile = ROOT / "ros_ws/src/robot_rl_bringup/config/fastdds.xml"
    environ = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile)}
    found = ros._transport(environ, "jazzy", "rmw_fastrtps_cpp")
    assert found.status == "ok" and "16 MB of shared memory" in found.detail


def test_a_profile_that_leaves_shared_memory_small_is_told(tmp_path):
    (tmp_path / "p.xml").write_text("<dds><profiles/></dds>")
    environ = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(tmp_path / "p.xml")}
    found = ros._transport(environ, "jazzy", "rmw_fastrtps_cpp")
    assert found.status == "slow" and "leaves shared memory at 0.5 MB" in found.detail


def test_another_middleware_is_told():
    found = ros._transport({}, "jazzy", "rmw_cyclonedds_cpp")
    assert found.status == "slow" and "RMW_IMPLEMENTATION=rmw_fastrtps_cpp" in found.mend


def test_listening_for_no_time_is_refused():
    with pytest.raises(ConfigError, match="listen_s is 0, but must be positive"):
        doctor.Cfg(listen_s=0)
