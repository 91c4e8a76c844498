"""Good episodes pass; for bad ones, the gate names stream, measurement, limit and advice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.teleop.quality import EpisodeGate, QualityCfg
from robot_rl.types import Image, RobotState

HZ = 20.0
NAMES = ("shoulder", "elbow")
RGB = np.zeros((2, 2, 3), np.uint8)


def record(
    steps=60,
    camera_hz=30.0,
    joints_frozen_at=None,
    camera_frozen_at=None,
    late=0.0,
    stuck=None,
    nan_at=None,
    delay_s=0.01,
    lost=None,
    **cfg,
):
    """An episode at 20 Hz with a camera, and the faults that are asked for."""
    gate = EpisodeGate(
        QualityCfg(**cfg), control_hz=HZ, rates_hz={"joints": HZ, "wrist": 30.0}, joint_names=NAMES
    )
    rng, now_s, spoiled = np.random.default_rng(0), 100.0, ""
    for k in range(steps + 1):
        seen_s = now_s if joints_frozen_at is None or k < joints_frozen_at else 100 + 1.0
        camera_s = now_s if camera_frozen_at is None or k < camera_frozen_at else 100 + 1.0
        stamp_s = np.floor((camera_s - delay_s) * camera_hz) / camera_hz
        command = np.array([0.01 * k, -0.005 * k])
        q = command + 1e-5 * rng.normal(size=2)
        if stuck is not None:
            q[stuck] = 0.3
        if nan_at == k:
            q[0] = np.nan
        state = RobotState(
            stamp_s=seen_s - 0.005,
            q_rad=q,
            dq_rad_s=np.zeros(2),
            gripper_m=np.zeros(0),
            images={"wrist": Image(rgb=RGB, stamp_s=stamp_s, frame_number=k)},
        )
        gate.tick(now_s, state, command)
        spoiled = spoiled or gate.spoiled()
        now_s += 1 / HZ + (1 / HZ if rng.random() < late else 0)
    return gate.verdict(lost), spoiled


def test_a_good_episode_passes():
    verdict, spoiled = record()
    assert verdict.is_good and str(verdict) == "good" and not spoiled


@given(st.floats(15.0, 120.0), st.integers(5, 200), st.floats(0.0, 0.1))
def test_cameras_of_any_usual_rate_and_delay_pass(camera_hz, steps, delay_s):
    verdict, spoiled = record(
        steps=steps, camera_hz=camera_hz, delay_s=delay_s, min_rate_share=0.6
    )
    assert verdict.is_good and not spoiled, str(verdict)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"steps": 3}, "episode: 3 steps, but must be at least 5. Record it again."),
        ({"steps": 0}, "episode: 0 steps"),
        ({"camera_hz": 4.0, "max_age_s": 1.0}, "wrist: 4.0 Hz, but must be at least 16.0 Hz."),
        ({"camera_frozen_at": 20}, "wrist: up to 2."),
        ({"camera_frozen_at": 20, "max_age_s": 9, "min_rate_share": 0.1}, "wrist: frozen for 2."),
        ({"joints_frozen_at": 20}, "joints: 6.7 Hz"),
        ({"late": 0.6}, "steps: "),
        ({"stuck": 1}, "elbow: moved 0e+00 rad of 0.30 commanded"),
        ({"nan_at": 7}, "joints: NaN or infinite, but must be finite. Restart the driver."),
        ({"lost": {"wrist": 20}}, "wrist: 20 messages lost (2"),
    ],
)
def test_each_fault_is_named(fault, words):
    verdict, _ = record(**fault)
    assert not verdict.is_good and words in str(verdict)


def test_a_stream_that_never_came_is_named():
    gate = EpisodeGate(
        QualityCfg(), control_hz=HZ, rates_hz={"joints": HZ, "front": 30.0}, joint_names=NAMES
    )
    for k in range(20):
        q = np.zeros(2)
        gate.tick(k / HZ, RobotState(stamp_s=k / HZ, q_rad=q, dq_rad_s=q, gripper_m=q), None)
    assert "front: missing at 20 of 20 steps" in str(gate.verdict())
    assert gate.ages_s() == {"joints": 0.0, "front": float("inf")}


def test_frozen_and_non_finite_streams_spoil_an_episode_at_once():
    assert "wrist: 0.2" in record(camera_frozen_at=20)[1]
    assert "joints: 0.2" in record(joints_frozen_at=20)[1]
    assert "NaN" in record(nan_at=4)[1]


def test_streams_far_apart_are_said_and_not_refused():
    verdict, _ = record(delay_s=0.15)
    assert verdict.is_good
    assert "s apart, but must be within 0.08 s" in str(verdict)


def test_limits_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="max_drop_share is 1"):
        QualityCfg(max_drop_share=1.5)
    with pytest.raises(ConfigError, match="max_age_s is 0"):
        QualityCfg(max_age_s=0)
