"""The arm bridge without ROS: who may move the arm, towards what, and when it must hold.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

What policy and operator ask for lies in `BridgeInputs`; one command comes out each tick. Whatever
was asked, the command keeps every limit (`MotionLimiter`), and when what it follows is stale, it
brakes and holds. Time comes in as arguments: monotonic `now_s`, and `clock_s` of the stamps.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_rl.control.bridge_cfg import BridgeCfg
from robot_rl.control.bridge_inputs import BridgeInputs
from robot_rl.control.limiter import MotionLimiter
from robot_rl.control.safety import SafetyFilter
from robot_rl.control.twist import follow_twist, shorten
from robot_rl.types import F64, Command, RobotSpec

__all__ = ["Bridge", "Source", "Tick"]

Source = Literal["policy", "human", "blend", "hold", "home"]
"""What a command follows; `blend` is policy or human while the arm still catches up."""

_CAUGHT_RAD = 0.01  # a target this near needs no catching up
_HOME_RAD = 1e-4  # this near to home is home
_BLOCKED_S = 0.5  # standing still this long on the way home: a limit is in the way


@dataclass(frozen=True, kw_only=True, eq=False)
class Tick:
    """The command of one tick."""

    q_rad: F64  # (dof,)
    dq_rad_s: F64  # (dof,)
    gripper_m: F64  # (num_grippers,), moving no faster than the grippers may
    gripper_goal_m: F64  # (num_grippers,) where they move to, for those that plan themselves
    source: Source


class Bridge:
    """State machine, mux and watchdogs of one robot.

    The mode is `inactive`, `hold`, `policy`, `teleop`, `home`, `estopped` or `fault:<reason>`;
    the last two stay until `clear_estop`. Requests return why they are refused, or None.
    """

    def __init__(self, spec: RobotSpec, cfg: BridgeCfg) -> None:
        self._spec, self._cfg = spec, cfg
        self._period_s = 1.0 / cfg.rate_hz
        self.inputs = BridgeInputs(spec, cfg)
        self.limit_hits: dict[str, int] = dict.fromkeys(
            ("joint", "step", "workspace", "gripper", "stopped"), 0
        )
        """Ticks in which a limit changed a target, and in which it stopped the motion."""
        self.mode = "inactive"
        self.hold_reason = "not activated"
        self._limiter = MotionLimiter(spec, period_s=self._period_s)
        # A target is shortened to what can be reached before it is stale.
        self._filter = SafetyFilter(spec, period_s=cfg.command_timeout_s)
        self._tick_filter = SafetyFilter(spec, period_s=self._period_s)
        self._home_rad = np.concatenate([arm.home_rad for arm in spec.arms])
        self._velocity = np.concatenate([arm.joint_velocity_limit_rad_s for arm in spec.arms])
        self._is_active = self._is_stopping = False
        self._is_estopped, self._fault = False, ""
        self._is_intervening = self._is_going_home = False
        self._followed: Source = "hold"  # as the source of a command, but never blend
        self._rise = 1.0  # of the speed: 0 at a change of source, 1 once the arm has caught up
        self._q_human = self._limiter.q_rad
        self._gripper_goal = self._limiter.gripper_m
        self._blocked_ticks = 0
        window = max(1, round(cfg.tracking_window_s * cfg.rate_hz))
        self._recent: deque[F64] = deque(maxlen=window)

    @property
    def is_estopped(self) -> bool:
        """Whether the e-stop is latched."""
        return self._is_estopped

    @property
    def is_active(self) -> bool:
        """Whether ticks give commands."""
        return self._is_active

    def activate(self, now_s: float) -> str | None:
        """Begin to command, from where the arm stands."""
        if self._is_active:
            return None
        if reason := self._start_at_measured(now_s):
            return reason
        self._is_active, self._is_stopping, self._is_going_home = True, False, False
        self._followed, self.hold_reason = "hold", "just activated"
        self._name_mode("hold")
        return None

    def deactivate(self) -> None:
        """Brake; the tick in which the arm stands is the last that commands."""
        self._is_stopping = True

    def estop(self) -> None:
        """Brake and hold until `clear_estop`, in every mode."""
        self._is_estopped = True
        self._is_going_home = False
        self._name_mode("hold")

    def fault(self, reason: str) -> None:
        """Brake and hold until `clear_estop`; the first reason stays."""
        self._fault = self._fault or reason
        self._is_going_home = False
        self._name_mode("hold")

    def clear_estop(self) -> str | None:
        """Release e-stop and fault once the command stands; what moves the arm must come anew."""
        if self._is_active and not self._limiter.is_still:
            return "the arm still brakes; call again when it stands"
        self._is_estopped, self._fault = False, ""
        self.inputs.expire()
        self._recent.clear()
        self._name_mode("hold")
        return None

    def home(self) -> str | None:
        """Go home slowly; the gripper keeps its opening."""
        if not self._is_active or self._is_stopping or self._is_estopped or self._fault:
            return f"the bridge is {self.mode}"
        if self._is_intervening:
            return "the operator intervenes"
        self._is_going_home, self._blocked_ticks = True, 0
        return None

    def resync(self, now_s: float) -> str | None:
        """Take the measured position as the new command, holding and still only."""
        if not self._is_active:
            return "the bridge is inactive"
        if self._followed != "hold" or not self._limiter.is_still:
            return f"the bridge must hold and stand still, but is in mode {self.mode}"
        return self._start_at_measured(now_s)

    def set_intervention(self, is_intervening: bool) -> None:
        """Keep the policy out, also while the operator's switch is released."""
        self._is_intervening = is_intervening

    def tick(self, now_s: float, clock_s: float) -> Tick | None:
        """The command of this tick; None while inactive."""
        self.inputs.note_clock(now_s, clock_s)
        if not self._is_active:
            return None
        followed = self._choose(now_s)
        if followed != self._followed:
            self._rise = 0.0 if followed in ("policy", "human") else 1.0
            self._q_human = self._limiter.stopping_point()
            self._followed = followed
        if followed == "hold":
            self._gripper_goal = self._limiter.gripper_m
            self._limiter.brake()
        elif followed == "home":
            self._go_home()
        elif followed == "policy":
            assert self.inputs.policy is not None  # it is fresh, so it was received
            self._follow(*self.inputs.policy)
        else:
            self._q_human = self._follow(*self._human_target(now_s))
        self._check_tracking()
        self._name_mode(followed)
        source: Source = "blend" if self._rise < 1.0 else followed
        self._recent.append(self._limiter.q_rad)
        if self._is_stopping and self._limiter.is_still:
            self._is_active, self._is_intervening = False, False
            self.mode, self.hold_reason = "inactive", "deactivated"
        return Tick(
            q_rad=self._limiter.q_rad,
            dq_rad_s=self._limiter.dq_rad_s,
            gripper_m=self._limiter.gripper_m,
            gripper_goal_m=self._gripper_goal.copy(),
            source=source,
        )

    def _choose(self, now_s: float) -> Source:
        """What to follow, the most binding reason to hold first."""
        held = self.inputs.is_deadman_held(now_s)
        stale = self.inputs.why_no_human(now_s) if held else self.inputs.why_no_policy(now_s)
        if self._fault:
            self.hold_reason = f"fault: {self._fault}"
        elif self._is_estopped:
            self.hold_reason = "e-stop"
        elif self._is_stopping:
            self.hold_reason = "deactivating"
        elif blind := self.inputs.why_blind(now_s):
            self.hold_reason = blind
        elif self._is_intervening and not held:
            self.hold_reason = "the operator intervenes, but has released the switch"
        elif self._is_going_home and not held:
            self.hold_reason = ""
            return "home"
        elif stale:
            self.hold_reason = stale
        else:
            self._is_going_home, self.hold_reason = False, ""
            return "human" if held else "policy"
        self._is_going_home = False
        return "hold"

    def _follow(self, q_rad: F64, gripper_m: F64) -> F64:
        """One tick towards a target, slowly while the arm still catches up; returns its joints."""
        present = Command(q_rad=self._limiter.q_rad, gripper_m=self._limiter.gripper_m, stamp_s=0)
        wished = Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=0)
        target, flags = self._filter.filter(wished, present)
        self._gripper_goal = target.gripper_m
        gap = np.abs(target.q_rad - present.q_rad).max(initial=0.0)
        if gap <= _CAUGHT_RAD:
            self._rise = 1.0
        elif gap <= self._cfg.takeover_gap_rad:
            self._rise = min(1.0, self._rise + self._period_s / self._cfg.takeover_s)
        low = self._cfg.takeover_speed_share
        cut = self._limiter.step(
            target.q_rad, target.gripper_m, speed_share=low + (1.0 - low) * self._rise
        )
        for name, hit in zip(self.limit_hits, (*flags, cut), strict=True):
            self.limit_hits[name] += bool(hit)
        return target.q_rad

    def _human_target(self, now_s: float) -> tuple[F64, F64]:
        """Where the operator wants the arm: by leader arm, or by twist from where it was."""
        gripper, leader = self._gripper_goal, self.inputs.fresh_leader(now_s)
        twists = self.inputs.fresh_twists(now_s)
        if leader is not None:
            self._q_human = np.where(np.isnan(leader[0]), self._q_human, leader[0])
            gripper = np.where(np.isnan(leader[1]), gripper, leader[1])
        elif not twists:
            self._q_human = self._limiter.stopping_point()
        joint = 0
        before = self._q_human.copy()
        for arm in self._spec.arms:
            j = slice(joint, joint + arm.dof)
            joint += arm.dof
            if arm.name in twists:
                linear = shorten(twists[arm.name][:3], self._cfg.teleop_speed_m_s)
                angular = shorten(twists[arm.name][3:], self._cfg.teleop_turn_rad_s)
                twist = np.concatenate([linear, angular])
                self._q_human[j] = follow_twist(arm, self._q_human[j], twist, self._period_s)
        if twists:  # near a singularity a small motion of the tool takes large ones of the joints
            self._q_human, gripper, _ = self._tick_filter.filter_batch(
                self._q_human, gripper, before, gripper
            )
        if (asked := self.inputs.fresh_gripper(now_s)) is not None:
            gripper = np.where(np.isnan(asked), gripper, asked)
        return self._q_human, gripper

    def _go_home(self) -> None:
        """One tick of a straight joint path home; ends in hold, there or at a limit."""
        gap = np.abs(self._home_rad - self._limiter.q_rad)
        times = gap / self._velocity
        share = self._cfg.home_speed_share * np.maximum(times / max(times.max(), 1e-9), 1e-3)
        self._limiter.step(self._home_rad, self._limiter.gripper_m, speed_share=share)
        if not self._limiter.is_still:
            self._blocked_ticks = 0
            return
        self._blocked_ticks += 1
        if gap.max() <= _HOME_RAD:
            self._is_going_home = False
        elif self._blocked_ticks * self._period_s >= _BLOCKED_S:
            self.fault("a limit blocks the way home")

    def _check_tracking(self) -> None:
        """Fault when a moving arm is far from all commands of the tracking window."""
        measured = self.inputs.measured
        if self._followed == "hold" or measured is None or not self._recent:
            return
        recent = np.stack(self._recent)
        below, above = recent.min(0) - measured.q_rad, measured.q_rad - recent.max(0)
        error = np.maximum(below, above)
        if error.max() > self._cfg.tracking_error_rad:
            name = [n for arm in self._spec.arms for n in arm.joint_names][int(error.argmax())]
            self.fault(f"{name} is {error.max():.2f} rad from its command")

    def _start_at_measured(self, now_s: float) -> str | None:
        """Stand the command still where the arm stands; else say why not."""
        measured = self.inputs.measured
        if (blind := self.inputs.why_blind(now_s)) or measured is None:
            return blind or "joint_states: nothing received"
        if not measured.is_still:
            return "the arm moves"
        self._limiter.start(measured.q_rad, measured.gripper_m)
        self._gripper_goal = self._limiter.gripper_m
        self._recent.clear()
        return None

    def _name_mode(self, followed: Source) -> None:
        if not self._is_active:
            self.mode = "inactive"
        elif self._fault:
            self.mode = f"fault:{self._fault}"
        elif self._is_estopped:
            self.mode = "estopped"
        else:
            self.mode = "teleop" if followed == "human" else followed
