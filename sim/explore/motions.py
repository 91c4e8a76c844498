"""Motions with a few numbers to choose, in the actions of `RobotEnv`.

explore:   believed twins → **motion** → measurement → fit → posterior → task policy

A motion is open loop, so that every twin it is rehearsed in gets the same actions; what the limits
make of them is decided by the same decoder and safety filter as on the robot.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.types import F32, F64

__all__ = ["Motion", "Pull", "Stroke"]


class Motion(Protocol):
    """A family of motions; a member is a point x (k,) between its bounds."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the k numbers are called, with their units."""
        ...

    @property
    def low(self) -> F64:
        """(k,) lower bounds."""
        ...

    @property
    def high(self) -> F64:
        """(k,) upper bounds."""
        ...

    def actions(self, x: F64) -> F32:
        """Points (n, k) as actions (n, steps, a) in [-1, 1], all of one length."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """One push: aside along the object, then straight on at a speed, and stop.

    Attributes:
        forward: Direction of the push (x, y) in the base's frame, of length 1; aside is to its
            left.
        step_m: Motion of an action of 1.
        control_hz: Actions a second.
        aside_m: Greatest way to the left or right before the push.
        heading_rad: Greatest turn of the push off `forward`.
        speed_m_s: Least and greatest speed.
        travel_m: Least and greatest way of the push, from where the tool starts.
        aside_steps: Actions for the way aside.
        rest_steps: Actions that follow, at rest, while objects slide on.
    """

    forward: tuple[float, float]
    step_m: float
    control_hz: float = 20.0
    aside_m: float
    heading_rad: float
    speed_m_s: tuple[float, float]
    travel_m: tuple[float, float]
    aside_steps: int = 10
    rest_steps: int = 10
    names: tuple[str, ...] = ("aside_m", "heading_rad", "speed_m_s", "travel_m")

    def __post_init__(self) -> None:
        """Refuse a speed that no action has, and bounds that are crossed."""
        fastest = self.step_m * self.control_hz
        slow, fast = self.speed_m_s
        if not 0 < slow <= fast <= fastest:
            raise ConfigError(
                f"stroke: speed_m_s is {self.speed_m_s}, but must rise and lie in (0, {fastest}]."
            )
        if not 0 < self.travel_m[0] <= self.travel_m[1]:
            raise ConfigError(
                f"stroke: travel_m is {self.travel_m}, but must be positive, rising."
            )
        if self.aside_m > self.aside_steps * self.step_m:
            raise ConfigError(
                f"stroke: aside_m is {self.aside_m}, but {self.aside_steps} steps reach only "
                f"{self.aside_steps * self.step_m}."
            )

    @property
    def low(self) -> F64:
        """See `Motion.low`."""
        return np.array([-self.aside_m, -self.heading_rad, self.speed_m_s[0], self.travel_m[0]])

    @property
    def high(self) -> F64:
        """See `Motion.high`."""
        return np.array([self.aside_m, self.heading_rad, self.speed_m_s[1], self.travel_m[1]])

    def actions(self, x: F64) -> F32:
        """See `Motion.actions`."""
        x = _checked(x, self.low)
        aside, heading, speed, travel = (x[:, i, None] for i in range(4))
        per_step = speed / self.control_hz
        longest = int(np.ceil(self.travel_m[1] * self.control_hz / self.speed_m_s[0]))
        # The last action of the push is the part of a step that is left.
        share = np.clip(travel / per_step - np.arange(longest), 0.0, 1.0) * per_step
        angle = heading + np.arctan2(self.forward[1], self.forward[0])
        steps = self.aside_steps + 1 + longest + self.rest_steps
        out = np.zeros((len(x), steps, 3))
        left = np.array([-self.forward[1], self.forward[0]])
        out[:, : self.aside_steps, :2] = aside[..., None] / self.aside_steps * left
        push = slice(self.aside_steps + 1, self.aside_steps + 1 + longest)
        out[:, push, 0], out[:, push, 1] = share * np.cos(angle), share * np.sin(angle)
        return (out / self.step_m).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Down into a slot, then pulls and returns along one axis at a speed that swells and ebbs.

    Attributes:
        approach_m: Way (x, y, z) from the start of the tool into the slot, made first.
        axis: Direction of the pull (x, y, z), of length 1.
        step_m: Motion of an action of 1.
        control_hz: Actions a second.
        approach_steps: Actions for the way in.
        steps: Actions of the pull.
        speed_m_s: Least and greatest mean speed.
        swell: Greatest share of the speed by which it swells and ebbs.
        swells: Least and greatest number of swells in the pull.
    """

    approach_m: tuple[float, float, float]
    axis: tuple[float, float, float]
    step_m: float
    control_hz: float = 20.0
    approach_steps: int = 25
    steps: int = 30
    speed_m_s: tuple[float, float]
    swell: float = 0.9
    swells: tuple[float, float] = (0.5, 6.0)
    names: tuple[str, ...] = ("speed_m_s", "swell", "swells", "share")

    @property
    def low(self) -> F64:
        """See `Motion.low`."""
        return np.array([self.speed_m_s[0], 0.0, self.swells[0], 0.3])

    @property
    def high(self) -> F64:
        """See `Motion.high`."""
        return np.array([self.speed_m_s[1], self.swell, self.swells[1], 1.0])

    def actions(self, x: F64) -> F32:
        """See `Motion.actions`."""
        x = _checked(x, self.low)
        speed, swell, swells, share = (x[:, i, None] for i in range(4))
        phase = np.arange(self.steps) / self.steps
        pull = speed * (1 + swell * np.sin(2 * np.pi * swells * phase)) / self.control_hz
        pull = np.where(phase < share, pull, 0.0)
        out = np.zeros((len(x), self.approach_steps + self.steps, 3))
        # Over first, then down: a slot is entered from above.
        half = self.approach_steps // 2
        way = np.array(self.approach_m)
        out[:, :half, :2] = way[:2] / half
        out[:, half : self.approach_steps, 2] = way[2] / (self.approach_steps - half)
        out[:, self.approach_steps :] = pull[..., None] * np.array(self.axis)
        return np.clip(out / self.step_m, -1.0, 1.0).astype(np.float32)


def _checked(x: F64, low: F64) -> F64:
    x = np.atleast_2d(np.asarray(x, np.float64))
    if x.shape[-1:] != low.shape:
        raise ShapeError("numbers of a motion", x.shape, (len(x), len(low)))
    return x
