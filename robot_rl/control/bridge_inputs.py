"""What the arm bridge has heard: newest target of each sender, checked, with its age.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

Nothing that is not finite, of another robot or stale on arrival goes further than this.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robot_rl.control.bridge_cfg import BridgeCfg
from robot_rl.control.freshness import Stream
from robot_rl.control.targets import TargetNames
from robot_rl.types import F64, RobotSpec

__all__ = ["BridgeInputs", "Measured", "Stamp"]

_CLOCK_JUMP_S = 0.05  # between two ticks; NTP slews by far less


class Stamp(NamedTuple):
    """When a message was stamped and when it came."""

    stamp_s: float  # by its sender
    clock_s: float  # on arrival, in the clock of the stamps: it may jump
    now_s: float  # on arrival, monotonic


class Measured(NamedTuple):
    """What the robot says of itself."""

    q_rad: F64  # (dof,)
    gripper_m: F64  # (num_grippers,)
    is_still: bool


class BridgeInputs:
    """The newest message of each stream."""

    def __init__(self, spec: RobotSpec, cfg: BridgeCfg) -> None:
        self._spec, self._cfg = spec, cfg
        self._names = TargetNames(spec)
        self._state = Stream(
            "joint_states", timeout_s=cfg.state_timeout_s, age_limit_s=cfg.state_timeout_s
        )
        self._policy = self._target_stream("policy_target")
        self._leader = self._target_stream("teleop/joint_target")
        self._gripper = self._target_stream("teleop/gripper")
        self._twists = {
            arm.name: self._target_stream(f"teleop/twist of {arm.name}") for arm in spec.arms
        }
        self._deadman_s: float | None = None  # when it was last reported held
        self._offset_s: float | None = None  # of the stamping clock from the monotonic one
        self.counts: Counter[str] = Counter()
        """Messages taken and refused, by stream, and jumps of the clock."""
        self.last_refusal = ""
        self.measured: Measured | None = None
        self.policy: tuple[F64, F64] | None = None
        """Joint targets (dof,) [rad] and openings (num_grippers,) [m]."""
        self.leader: tuple[F64, F64] | None = None
        """As `policy`; NaN where the leader arm names nothing."""
        self.gripper_m: F64 | None = None
        """Openings (num_grippers,) [m] that the operator asks for; NaN where none."""
        self.twists: dict[str, F64] = {}
        """Tool velocity (6,) [m/s, rad/s] in base, of each arm that the operator moves."""

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams, for diagnostics."""
        return (self._state, self._policy, self._leader, self._gripper, *self._twists.values())

    def take_state(
        self, q_rad: F64, dq_rad_s: F64 | None, gripper_m: F64, stamp: Stamp
    ) -> str | None:
        """Take measured joints (dof,), their speeds if known, and openings; else say why not."""
        if q_rad.shape != (self._spec.dof,) or gripper_m.shape != (self._spec.num_grippers,):
            return self._refuse(self._state, "of another robot")
        if not (np.isfinite(q_rad).all() and np.isfinite(gripper_m).all()):
            return self._refuse(self._state, "a value is NaN or infinite")
        age_s = self._state.age_s(stamp.now_s)
        if reason := self._admit(self._state, stamp):
            return reason
        if dq_rad_s is not None and dq_rad_s.shape == q_rad.shape and np.isfinite(dq_rad_s).all():
            speed = np.abs(dq_rad_s).max(initial=0.0)
        elif self.measured is not None and np.isfinite(age_s):
            moved = np.abs(q_rad - self.measured.q_rad).max(initial=0.0)
            speed = moved / max(age_s, 1.0 / self._cfg.rate_hz)
        else:
            speed = np.inf
        self.measured = Measured(
            q_rad.copy(), gripper_m.copy(), bool(speed <= self._cfg.still_rad_s)
        )
        return None

    def take_policy(
        self, names: Sequence[str], values: Sequence[float], stamp: Stamp
    ) -> str | None:
        """Take a target of all joints [rad] and grippers [m]; else say why not."""
        target = self._names.pick(names, values)
        if isinstance(target, str):
            return self._refuse(self._policy, target)
        if reason := self._admit(self._policy, stamp):
            return reason
        self.policy = target
        return None

    def take_leader(
        self, names: Sequence[str], values: Sequence[float], stamp: Stamp
    ) -> str | None:
        """Take the leader arm's target of whole arms and, maybe, grippers; else say why not."""
        target = self._names.pick(names, values, is_partial=True)
        if isinstance(target, str):
            return self._refuse(self._leader, target)
        if reason := self._admit(self._leader, stamp):
            return reason
        self.leader = target
        return None

    def take_gripper(
        self, names: Sequence[str], values: Sequence[float], stamp: Stamp
    ) -> str | None:
        """Take the openings that the operator asks for; else say why not."""
        target = self._names.pick(names, values, is_partial=True)
        if isinstance(target, str):
            return self._refuse(self._gripper, target)
        if reason := self._admit(self._gripper, stamp):
            return reason
        self.gripper_m = target[1]
        return None

    def take_twist(self, arm: str, twist: F64, stamp: Stamp) -> str | None:
        """Take a tool velocity (6,) [m/s, rad/s] in the base of an arm; else say why not."""
        if arm not in self._twists:
            self.counts["refused teleop/twist"] += 1
            known = ", ".join(self._twists)
            self.last_refusal = f"teleop/twist: unknown arm '{arm}'; known are {known}"
            return self.last_refusal
        stream = self._twists[arm]
        if twist.shape != (6,) or not np.isfinite(twist).all():
            return self._refuse(stream, "a value is NaN or infinite")
        if reason := self._admit(stream, stamp):
            return reason
        self.twists[arm] = twist.copy()
        return None

    def take_deadman(self, is_held: bool, now_s: float) -> None:
        """Take the operator's switch; it must be repeated."""
        self._deadman_s = now_s if is_held else None

    def note_clock(self, now_s: float, clock_s: float) -> None:
        """Compare both clocks; after a jump everything must be heard anew."""
        offset_s = clock_s - now_s
        if self._offset_s is not None and not abs(offset_s - self._offset_s) <= _CLOCK_JUMP_S:
            self.counts["clock jumps"] += 1
            self.expire()
        self._offset_s = offset_s

    def expire(self) -> None:
        """Forget all: what moves the arm from here on must come from here on."""
        for stream in self.streams:
            stream.expire()
        self._deadman_s = None

    def is_deadman_held(self, now_s: float) -> bool:
        """Whether the operator's switch was reported held just now."""
        since = self._deadman_s
        return since is not None and 0 <= now_s - since <= self._cfg.deadman_timeout_s

    def why_blind(self, now_s: float) -> str | None:
        """Why the joints are not known; None if they are."""
        return self._state.why_stale(now_s)

    def why_no_policy(self, now_s: float) -> str | None:
        """Why there is no policy to follow; None if there is."""
        return self._policy.why_stale(now_s)

    def why_no_human(self, now_s: float) -> str | None:
        """Why there is no target of the operator to follow; None if there is any."""
        streams = (*self._twists.values(), self._leader, self._gripper)
        stale = [stream.why_stale(now_s) for stream in streams]
        return stale[0] if all(stale) else None

    def fresh_twists(self, now_s: float) -> dict[str, F64]:
        """Tool velocities (6,) [m/s, rad/s] by arm that are still to be acted on."""
        fresh = [name for name, s in self._twists.items() if s.why_stale(now_s) is None]
        return {name: self.twists[name] for name in fresh}

    def fresh_leader(self, now_s: float) -> tuple[F64, F64] | None:
        """The leader arm's target, if it is still to be acted on."""
        return self.leader if self._leader.why_stale(now_s) is None else None

    def fresh_gripper(self, now_s: float) -> F64 | None:
        """The operator's openings [m], if they are still to be acted on."""
        return self.gripper_m if self._gripper.why_stale(now_s) is None else None

    def _target_stream(self, name: str) -> Stream:
        return Stream(
            name,
            timeout_s=self._cfg.command_timeout_s,
            age_limit_s=self._cfg.observation_age_s,
        )

    def _admit(self, stream: Stream, stamp: Stamp) -> str | None:
        reason = stream.admit(stamp_s=stamp.stamp_s, clock_s=stamp.clock_s, now_s=stamp.now_s)
        if reason is None:
            self.counts[f"taken {stream.name}"] += 1
            return None
        self.counts[f"refused {stream.name}"] += 1
        self.last_refusal = reason
        return reason

    def _refuse(self, stream: Stream, reason: str) -> str:
        self.counts[f"refused {stream.name}"] += 1
        self.last_refusal = f"{stream.name}: {reason}"
        return self.last_refusal
