"""Reports as the devices send them, replayed byte by byte; and device files found by sysfs."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import PortError
from robot_rl.teleop.devices.hidraw import HidFile, HidNode, find_hid
from robot_rl.teleop.devices.spacemouse import PRODUCTS, SpaceMouse, SpaceReports


class Tape:
    """Recorded reports, some at each read."""

    def __init__(self, *reads):
        self.reads = [[bytes.fromhex(line) for line in lines] for lines in reads]
        self.is_closed = False

    def reports(self):
        return self.reads.pop(0) if self.reads else []

    def close(self):
        self.is_closed = True


# 350 = 0x015e, little endian; -350 = 0xfea2. Bytes: id, x right, y towards the person, z down.
PUSH_FORWARD = "01 0000 a2fe 0000"
PUSH_RIGHT = "01 5e01 0000 0000"
LIFT = "01 0000 0000 a2fe"
TURN_ABOUT_UP = "02 0000 0000 a2fe"
REST = ("01 0000 0000 0000", "02 0000 0000 0000")
WIRELESS = "01 0000 a2fe 0000 0000 0000 5e01"  # both in one report
LEFT, RIGHT, NONE = "03 0100", "03 0200", "03 0000"
BATTERY = "17 64"


def read(*lines):
    return SpaceMouse(source=Tape(lines), clock=lambda: 3.0).read()


@pytest.mark.parametrize(
    ("report", "twist"),
    [
        (PUSH_FORWARD, [1, 0, 0, 0, 0, 0]),
        (PUSH_RIGHT, [0, -1, 0, 0, 0, 0]),
        (LIFT, [0, 0, 1, 0, 0, 0]),
        (TURN_ABOUT_UP, [0, 0, 0, 0, 0, 1]),
        (WIRELESS, [1, 0, 0, 0, 0, -1]),
    ],
)
def test_the_cap_moves_the_tool_as_it_is_pushed(report, twist):
    sample = read(report)
    assert sample.active and sample.twist.tolist() == twist and sample.stamp_s == 3.0


def test_translation_and_rotation_turn_alike():
    """The cap's frame is turned into the base by a rotation, not by a mirror."""
    columns = []
    for axis in range(3):
        reports = SpaceReports()
        values = [0, 0, 0]
        values[axis] = 350
        reports.take(bytes([1]) + np.array(values, "<i2").tobytes())
        reports.take(bytes([2]) + np.array(values, "<i2").tobytes())
        assert (reports.twist[:3] == reports.twist[3:]).all()
        columns.append(reports.twist[:3])
    assert np.linalg.det(np.array(columns).T) == pytest.approx(1.0)


def test_letting_the_cap_go_lets_the_clutch_go():
    mouse = SpaceMouse(source=Tape([PUSH_FORWARD], [], REST))
    assert mouse.read().active
    assert mouse.read().active, "no report means no change"
    assert not mouse.read().active


def test_a_hand_at_rest_does_not_drift():
    assert not read("01 0a00 f6ff 1400").active  # 10, -10 and 20 of 350


def test_buttons_act_once_a_press():
    mouse = SpaceMouse(source=Tape([LEFT], [], [NONE, LEFT], [NONE, RIGHT], [NONE]), arms=2)
    found = [(s.toggles_gripper, s.arm) for s in (mouse.read() for _ in range(5))]
    assert found == [(True, 0), (False, 0), (True, 0), (False, 1), (False, 1)]


@given(st.binary(max_size=20))
def test_no_bytes_break_it_and_shares_stay_within_one(report):
    reports = SpaceReports()
    reports.take(report)
    assert np.abs(reports.twist).max() <= 1.0


def test_other_reports_are_left_alone():
    reports = SpaceReports()
    assert not reports.take(bytes.fromhex(BATTERY)) and not reports.take(b"")
    assert not reports.twist.any()


def test_device_files_are_found_by_vendor_and_product(tmp_path):
    for name, hid in {
        "hidraw0": "0003:0000046D:0000C077",
        "hidraw3": "0003:0000256F:0000C635",
    }.items():
        folder = tmp_path / "sys" / name / "device"
        folder.mkdir(parents=True)
        (folder / "uevent").write_text(f"DRIVER=hid-generic\nHID_ID={hid}\nHID_NAME=Cap\n")
    (tmp_path / "sys" / "hidraw9").mkdir()
    (node,) = find_hid(PRODUCTS.keys(), sysfs=tmp_path / "sys", dev=tmp_path / "dev")
    assert node == HidNode(
        path=tmp_path / "dev" / "hidraw3", vendor=0x256F, product=0xC635, name="Cap"
    )


def test_a_device_file_gives_what_has_come_without_waiting(tmp_path):
    path = tmp_path / "hidraw0"
    os.mkfifo(path)  # as a device file: reads do not wait
    source = HidFile(HidNode(path=path, vendor=0x256F, product=0xC635, name="Cap"))
    with path.open("wb", buffering=0) as device:
        assert source.reports() == []
        device.write(bytes.fromhex(PUSH_FORWARD))
        assert source.reports() == [bytes.fromhex(PUSH_FORWARD)]
        assert source.reports() == []
    source.close()


def test_what_is_missing_or_forbidden_says_what_to_do(tmp_path):
    if os.path.exists("/sys/class/hidraw") and find_hid(PRODUCTS.keys()):
        pytest.skip("a SpaceMouse is plugged in")
    with pytest.raises(PortError, match=r"no SpaceMouse is there\. Plug one in"):
        SpaceMouse().open()
    node = HidNode(path=tmp_path / "gone", vendor=0x256F, product=0xC635, name="Cap")
    with pytest.raises(PortError, match="Plug the Cap in again"):
        HidFile(node)
    if os.geteuid() != 0:
        node.path.touch(mode=0o000)
        with pytest.raises(PortError, match='idVendor}=="256f"'):
            HidFile(node)
