"""The quality gate: each stream's rate, drops and age, before an episode may enter the store.

learning:  transition → **gate** → episode store → progress model → replay → ...

A frozen camera or a dead joint spoils a policy silently. So an episode with one is refused, with
the stream, what was measured, what is allowed and what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64, RobotState

__all__ = ["JOINTS", "EpisodeGate", "Finding", "QualityCfg", "Verdict"]

JOINTS = "joints"
"""The stream of joint states; the others are named after their cameras."""


@dataclass(frozen=True, kw_only=True)
class QualityCfg:
    """What an episode must keep to be stored."""

    min_steps: int = 5
    """Shorter episodes are slips of the finger."""
    min_rate_share: float = 0.8
    """Share of the rate it should have that a stream must reach."""
    max_drop_share: float = 0.05
    """Largest share of a stream's messages that may be lost."""
    max_age_s: float = 0.2
    """Oldest that a stream may be at a step."""
    max_gap_s: float = 0.4
    """Longest time without anything new."""
    warn_skew_s: float = 0.08
    """Streams that are further apart at a step are reported, not refused."""
    max_late_share: float = 0.2
    """Share of the steps that may come more than half a period late."""
    stuck_command_rad: float = 0.1
    """A joint that was asked to move so far ..."""
    stuck_motion_rad: float = 1e-4
    """... and moved less than this is stuck."""

    def __post_init__(self) -> None:
        """Refuse shares and times that mean nothing."""
        for name in ("min_rate_share", "max_drop_share", "max_late_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"gate: {name} is {getattr(self, name)}, but must be in [0, 1].")
        for name in ("max_age_s", "max_gap_s", "warn_skew_s", "stuck_command_rad"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"gate: {name} is {getattr(self, name)}, but must be positive.")
        if self.min_steps < 1 or self.stuck_motion_rad < 0:
            raise ConfigError(
                f"gate: min_steps is {self.min_steps} and must be at least 1; stuck_motion_rad "
                f"is {self.stuck_motion_rad} and must be at least 0."
            )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with an episode."""

    stream: str
    measured: str
    allowed: str
    advice: str
    refuses: bool = True

    def __str__(self) -> str:
        """Such as `wrist: 6.1 Hz, but must be at least 16.0 Hz. Check that wrist streams ...`."""
        return f"{self.stream}: {self.measured}, but must be {self.allowed}. {self.advice}"


@dataclass(frozen=True)
class Verdict:
    """All that was found in an episode."""

    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether it may be stored."""
        return not any(finding.refuses for finding in self.findings)

    def __str__(self) -> str:
        """The findings that refuse it, else the others; "good" without any."""
        found = [f for f in self.findings if f.refuses] or list(self.findings)
        return " ".join(map(str, found)) or "good"


class EpisodeGate:
    """Watches one episode at its steps, and judges it at the end.

    Args:
        cfg: What it must keep.
        control_hz: Rate of the steps.
        rates_hz: Rate that each stream should have: `JOINTS` and the cameras.
        joint_names: For the words about a stuck one.
    """

    def __init__(
        self,
        cfg: QualityCfg,
        *,
        control_hz: float,
        rates_hz: Mapping[str, float],
        joint_names: tuple[str, ...],
    ) -> None:
        self._cfg, self._control_hz, self._joint_names = cfg, control_hz, joint_names
        self._rates_hz = dict(rates_hz)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._times_s: list[float] = []
        self._stamps_s: dict[str, list[float]] = {name: [] for name in self._rates_hz}
        self._q_rad: list[F64] = []
        self._commands_rad: list[F64] = []
        self._non_finite = ""

    def tick(self, now_s: float, state: RobotState, command_rad: F64 | None) -> None:
        """Note what there was at one step.

        Args:
            now_s: By the clock of the stamps.
            state: What was read.
            command_rad: (dof,) the command in force, if known.
        """
        self._times_s.append(now_s)
        self._stamps_s[JOINTS].append(state.stamp_s)
        for name, image in state.images.items():
            if name in self._stamps_s:
                self._stamps_s[name].append(image.stamp_s)
        self._q_rad.append(np.array(state.q_rad))
        if command_rad is not None:
            self._commands_rad.append(np.array(command_rad))
        if not (np.isfinite(state.q_rad).all() and np.isfinite(state.dq_rad_s).all()):
            self._non_finite = JOINTS

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of what is watched, in the order of `ages_s`."""
        return tuple(self._rates_hz)

    def ages_s(self) -> dict[str, float]:
        """Age of each stream at the last step; infinite if it never came."""
        if not self._times_s:
            return {}
        now_s = self._times_s[-1]
        return {k: now_s - s[-1] if s else float("inf") for k, s in self._stamps_s.items()}

    def spoiled(self) -> str:
        """Why the episode cannot be good any more, "" while it can: ends it at once."""
        if self._non_finite:
            return f"{self._non_finite}: NaN or infinite. Restart the driver."
        for name, age_s in self.ages_s().items():
            if age_s > self._cfg.max_age_s:
                return (
                    f"{name}: {age_s:.2f} s old, but must be at most {self._cfg.max_age_s} s. "
                    f"Check that {name} streams: robot-rl doctor measures it."
                )
        return ""

    def verdict(self, lost: Mapping[str, int] | None = None) -> Verdict:
        """Judge the episode.

        Args:
            lost: Messages of each stream that never arrived, where somebody counts them.
        """
        cfg, steps = self._cfg, len(self._times_s) - 1
        found: list[Finding] = []
        if steps < cfg.min_steps:
            found.append(
                Finding(
                    stream="episode",
                    measured=f"{max(steps, 0)} steps",
                    allowed=f"at least {cfg.min_steps}",
                    advice="Record it again.",
                )
            )
            return Verdict(tuple(found))
        if self._non_finite:
            found.append(
                Finding(
                    stream=self._non_finite,
                    measured="NaN or infinite",
                    allowed="finite",
                    advice="Restart the driver.",
                )
            )
        for name in self._rates_hz:
            found += self._stream(name, (lost or {}).get(name, 0))
        found += [*self._pace(), *self._stuck(), *self._skew()]
        return Verdict(tuple(found))

    def _stream(self, name: str, lost: int) -> list[Finding]:
        """Rate, losses, age and gaps of one stream."""
        cfg, times_s = self._cfg, np.array(self._times_s)
        stamps_s = np.array(self._stamps_s[name])
        advice = f"Check that {name} streams: robot-rl doctor measures it."
        if len(stamps_s) < len(times_s):
            share = f"missing at {len(times_s) - len(stamps_s)} of {len(times_s)} steps"
            return [Finding(stream=name, measured=share, allowed="there", advice=advice)]
        fresh_s = np.unique(stamps_s)
        span_s = times_s[-1] - times_s[0]
        # What steps can see of a stream is no faster than the steps themselves.
        wanted_hz = min(self._rates_hz[name], self._seen_hz()) * cfg.min_rate_share
        rate_hz = (len(fresh_s) - 1) / span_s if span_s > 0 else 0.0
        ends_s = np.array([*fresh_s, times_s[-1]])
        limits = (
            (rate_hz < wanted_hz, f"{rate_hz:.1f} Hz", f"at least {wanted_hz:.1f} Hz"),
            (
                (age_s := float((times_s - stamps_s).max())) > cfg.max_age_s,
                f"up to {age_s:.3f} s old",
                f"at most {cfg.max_age_s} s",
            ),
            (
                (gap_s := float(np.diff(ends_s).max())) > cfg.max_gap_s,
                f"frozen for {gap_s:.2f} s",
                f"new every {cfg.max_gap_s} s",
            ),
            (
                (share := lost / (lost + len(fresh_s))) > cfg.max_drop_share,
                f"{lost} messages lost ({share:.0%})",
                f"at most {cfg.max_drop_share:.0%}",
            ),
        )
        return [
            Finding(stream=name, measured=measured, allowed=allowed, advice=advice)
            for is_bad, measured, allowed in limits
            if is_bad
        ]

    def _seen_hz(self) -> float:
        """Rate of the steps as they came."""
        span_s = self._times_s[-1] - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else self._control_hz

    def _pace(self) -> list[Finding]:
        """Steps that came late."""
        period_s = 1.0 / self._control_hz
        late = np.diff(self._times_s) > 1.5 * period_s
        if late.mean() <= self._cfg.max_late_share:
            return []
        return [
            Finding(
                stream="steps",
                measured=f"{late.mean():.0%} of them late",
                allowed=f"at most {self._cfg.max_late_share:.0%}",
                advice="Free the processor, use smaller images, or lower the task's rate.",
            )
        ]

    def _stuck(self) -> list[Finding]:
        """Joints that were told to move and did not."""
        if not self._commands_rad:
            return []
        asked, moved = np.ptp(self._commands_rad, axis=0), np.ptp(self._q_rad, axis=0)
        stuck = (asked > self._cfg.stuck_command_rad) & (moved < self._cfg.stuck_motion_rad)
        return [
            Finding(
                stream=self._joint_names[j],
                measured=f"moved {moved[j]:.0e} rad of {asked[j]:.2f} commanded",
                allowed=f"moving by more than {self._cfg.stuck_motion_rad:.0e} rad",
                advice="Check brakes, e-stop and driver.",
            )
            for j in np.flatnonzero(stuck)
        ]

    def _skew(self) -> list[Finding]:
        """Streams far apart in time: said, never refused, for a slow camera is no fault."""
        whole = [s for s in self._stamps_s.values() if len(s) == len(self._times_s)]
        if len(whole) < 2:
            return []
        skew_s = float(np.ptp(np.array(whole), axis=0).max())
        if skew_s <= self._cfg.warn_skew_s:
            return []
        return [
            Finding(
                stream="all",
                measured=f"up to {skew_s:.3f} s apart",
                allowed=f"within {self._cfg.warn_skew_s} s",
                advice="Calibrate the cameras' delay, or raise their rate.",
                refuses=False,
            )
        ]
