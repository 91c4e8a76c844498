"""The contract of a `RobotPort`, clause by clause; `conformance.check_port` reads it out.

command:   … → decode → safety → **send**

Each clause takes a new, unconnected port, and returns what it found broken, or None.
"""

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from robot_rl.env.port import RobotPort
from robot_rl.errors import NonFiniteError, PortError, RobotRLError, ShapeError
from robot_rl.types import Command, RobotSpec, RobotState

__all__ = ["CLAUSES", "FAILURES", "REPEATABLE"]

FAILURES = (RobotRLError, ValueError, TypeError, LookupError, AttributeError, OSError)
"""What a port may raise by mistake: told as a broken clause, not as a crash of the suite."""
REPEATABLE = "equal seeds give equal episodes"
"""The one clause that a port need not claim."""

_STEP_RAD = 0.05  # far enough to tell motion from noise, small enough for any arm at home
_SETTLE_S = 1.0  # any arm has covered a step by then
_STILL_RAD = 0.01  # creep of a held arm, and scatter of a reset


def _raises(error: type[RobotRLError], call: Callable[[], Any]) -> bool:
    """Whether a call raises exactly this family of errors."""
    try:
        call()
    except error:
        return True
    except FAILURES:  # a bare ValueError, say, tells a user nothing
        return False
    return False


def _wait(port: RobotPort, duration_s: float) -> None:
    port.clock.sleep_until(port.clock.now() + duration_s)


def _begin(port: RobotPort, seed: int = 0) -> RobotState:
    """Connect, reset and read."""
    port.connect()
    port.reset(seed)
    return port.read()


def _target(port: RobotPort, state: RobotState, step_rad: float) -> Command:
    """A command `step_rad` from a state in every joint, towards the middle of its range."""
    lower, upper = _limits(port.spec)
    inward = np.where(state.q_rad < 0.5 * (lower + upper), 1.0, -1.0)
    q = np.clip(state.q_rad + step_rad * inward, lower, upper)
    return Command(q_rad=q, gripper_m=state.gripper_m.copy(), stamp_s=port.clock.now())


def _limits(spec: RobotSpec) -> tuple[np.ndarray, np.ndarray]:
    """Joint limits (dof,) [rad] over all arms."""
    return (
        np.concatenate([arm.joint_lower_rad for arm in spec.arms]),
        np.concatenate([arm.joint_upper_rad for arm in spec.arms]),
    )


def _spec_before_connect(port: RobotPort) -> str | None:
    if not isinstance(port, RobotPort):
        return f"{type(port).__name__} lacks a member of RobotPort."
    if not isinstance(port.spec, RobotSpec) or not port.spec.arms:
        return f"spec is {port.spec!r}, but must be a RobotSpec with at least one arm."
    before = port.spec
    port.connect()
    for key in (f.name for f in fields(RobotSpec)):
        if getattr(port.spec, key) != getattr(before, key):
            return f"spec.{key} is {getattr(port.spec, key)} after connect, and was another."


def _unconnected_refuses(port: RobotPort) -> str | None:
    zeros = np.zeros(port.spec.dof), np.zeros(port.spec.num_grippers)
    command = Command(q_rad=zeros[0], gripper_m=zeros[1], stamp_s=0.0)
    calls: dict[str, Callable[[], Any]] = {
        "read()": port.read,
        "send()": lambda: port.send(command),
        "reset()": lambda: port.reset(0),
    }
    for call, function in calls.items():
        if not _raises(PortError, function):
            return f"{call} before connect() raised no PortError."
    port.stop()  # safe at any time
    port.connect()
    port.close()
    for call, function in calls.items():
        if not _raises(PortError, function):
            return f"{call} after close() raised no PortError."
    port.stop()


def _twice_is_harmless(port: RobotPort) -> str | None:
    state = _begin(port)
    port.connect()
    again = port.read()
    if np.abs(again.q_rad - state.q_rad).max() > _STILL_RAD:
        return "a second connect() moved the arm."
    port.close()
    port.close()
    return None


def _close_ends_threads(port: RobotPort) -> str | None:
    before = set(threading.enumerate())
    _begin(port)
    port.close()
    left = [t.name for t in threading.enumerate() if t not in before and not t.daemon]
    if left:
        return f"threads {left} live on after close()."


def _state_matches_spec(port: RobotPort) -> str | None:
    state, spec = _begin(port), port.spec
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "q_rad": (state.q_rad, (spec.dof,)),
        "dq_rad_s": (state.dq_rad_s, (spec.dof,)),
        "gripper_m": (state.gripper_m, (spec.num_grippers,)),
    }
    if state.tau_nm is not None:
        shapes["tau_nm"] = state.tau_nm, (spec.dof,)
    named = {
        "poses": (state.poses, dict.fromkeys(spec.tracked, (7,))),
        "signals": (state.signals, {name: (n,) for name, n in spec.signals.items()}),
        "images": (
            {name: image.rgb for name, image in state.images.items()},
            {camera.name: (camera.height_px, camera.width_px, 3) for camera in spec.cameras},
        ),
    }
    for kind, (received, allowed) in named.items():
        if set(received) != set(allowed):
            return f"state.{kind} are {sorted(received)}, but spec names {sorted(allowed)}."
        shapes |= {f"{kind}[{name}]": (received[name], allowed[name]) for name in allowed}
    for name, (value, shape) in shapes.items():
        if np.shape(value) != shape:
            return f"state.{name} has shape {np.shape(value)}, but must have shape {shape}."
        if not np.isfinite(value).all():
            return f"state.{name} is not finite."
    for name, pose in state.poses.items():
        if abs(np.linalg.norm(pose[3:]) - 1.0) > 1e-3:
            return f"state.poses[{name}] has quaternion {pose[3:]}, which is not unit."
    for name, image in state.images.items():
        if image.rgb.dtype != np.uint8:
            return f"state.images[{name}] is {image.rgb.dtype}, but must be uint8."


def _clock_goes_on(port: RobotPort) -> str | None:
    _begin(port)
    start_s = port.clock.now()
    port.clock.sleep_until(start_s - 1.0)
    if port.clock.now() < start_s:
        return "sleep_until() a past time turned the clock back."
    port.clock.sleep_until(start_s + 0.1)
    if port.clock.now() < start_s + 0.1 - 1e-6:
        return f"sleep_until(start + 0.1) returned at start + {port.clock.now() - start_s:.4f}."
    before_s = port.clock.now()
    port.reset(1)
    if port.clock.now() < before_s:
        return "reset() turned the clock back."


def _stamps_go_on(port: RobotPort) -> str | None:
    state = _begin(port)
    for _ in range(5):
        _wait(port, 0.1)
        newer = port.read()
        if newer.stamp_s <= state.stamp_s:
            return f"after 0.1 s the stamp went from {state.stamp_s} to {newer.stamp_s}."
        if newer.stamp_s > port.clock.now() + 1e-6:
            return f"stamp {newer.stamp_s} lies ahead of the clock, {port.clock.now()}."
        for name, image in newer.images.items():
            if image.stamp_s > port.clock.now() + 1e-6:
                return f"camera '{name}': stamp {image.stamp_s} lies ahead of the clock."
            if image.frame_number < state.images[name].frame_number:
                return f"camera '{name}': frame numbers go back."
        state = newer


def _send_returns_what_was_sent(port: RobotPort) -> str | None:
    state = _begin(port)
    command = _target(port, state, 0.002)
    before = command.q_rad.copy()
    sent = port.send(command)
    if not np.array_equal(command.q_rad, before):
        return "send() edited its argument."
    if not isinstance(sent, Command) or np.abs(sent.q_rad - before).max() > 1e-6:
        return f"a step of 2 mrad within limits was sent on as {sent}."
    lower, upper = _limits(port.spec)
    beyond = Command(q_rad=upper + 1.0, gripper_m=command.gripper_m, stamp_s=port.clock.now())
    sent = port.send(beyond)
    port.stop()
    if (sent.q_rad > upper + 1e-6).any() or (sent.q_rad < lower - 1e-6).any():
        return f"a target beyond the joint limits was sent on as {sent.q_rad}."


def _send_moves(port: RobotPort) -> str | None:
    state = _begin(port)
    sent = port.send(_target(port, state, _STEP_RAD))
    _wait(port, _SETTLE_S)
    left = np.abs(port.read().q_rad - sent.q_rad)
    asked = np.abs(sent.q_rad - state.q_rad)
    if (left > 0.5 * asked + _STILL_RAD).any():
        return f"{_SETTLE_S} s after send() the joints are still {left.max():.3f} rad away."


def _stop_holds(port: RobotPort) -> str | None:
    state = _begin(port)
    port.send(_target(port, state, 2 * _STEP_RAD))
    _wait(port, 0.02)
    port.stop()
    _wait(port, 0.3)  # braking
    held = port.read().q_rad
    _wait(port, _SETTLE_S)
    crept = np.abs(port.read().q_rad - held).max()
    if crept > _STILL_RAD:
        return f"after stop() the joints moved on by {crept:.3f} rad."
    if np.abs(held - state.q_rad).max() > 1.9 * _STEP_RAD:
        return "stop() let the arm go on to its target."
    sent = port.send(_target(port, port.read(), _STEP_RAD))
    _wait(port, _SETTLE_S)
    if np.abs(port.read().q_rad - sent.q_rad).max() > 0.5 * _STEP_RAD + _STILL_RAD:
        return "the arm did not follow the first send() after stop()."


def _bad_commands_are_refused(port: RobotPort) -> str | None:
    state = _begin(port)
    # A command is checked when it is made; its array can still be edited later.
    spoilt = _target(port, state, _STEP_RAD)
    spoilt.q_rad[0] = np.nan
    if not _raises(NonFiniteError, lambda: port.send(spoilt)):
        return "send() of a NaN raised no NonFiniteError."
    short = Command(q_rad=state.q_rad[:-1], gripper_m=state.gripper_m, stamp_s=0.0)
    if not _raises(ShapeError, lambda: port.send(short)):
        return "send() of too few joints raised no ShapeError."
    _wait(port, 0.2)
    if np.abs(port.read().q_rad - state.q_rad).max() > _STILL_RAD:
        return "a refused command moved the arm."


def _resets_repeat(port: RobotPort) -> str | None:
    first = _begin(port, seed=3)
    port.send(_target(port, first, _STEP_RAD))
    _wait(port, 0.2)
    port.reset(4)
    other = port.read()
    port.reset(3)
    again = port.read()
    for kind in ("q_rad", "gripper_m"):
        if not np.allclose(getattr(again, kind), getattr(first, kind), atol=1e-6):
            return f"reset(3) twice gave different {kind}."
    for name, pose in first.poses.items():
        if not np.allclose(again.poses[name], pose, atol=1e-6):
            return f"reset(3) twice put '{name}' at different poses."
    if first.poses and all(np.array_equal(other.poses[k], v) for k, v in first.poses.items()):
        return "reset(3) and reset(4) drew the same scene."


CLAUSES: dict[str, Callable[[RobotPort], str | None]] = {
    "the spec is known before connect, and stays": _spec_before_connect,
    "an unconnected port refuses": _unconnected_refuses,
    "connecting and closing twice is harmless": _twice_is_harmless,
    "closing ends what connecting began": _close_ends_threads,
    "a state is what the spec says": _state_matches_spec,
    "the clock only goes on": _clock_goes_on,
    "stamps go on and never lie ahead": _stamps_go_on,
    "send returns what was sent, within limits": _send_returns_what_was_sent,
    "send moves the arm": _send_moves,
    "stop holds until the next send": _stop_holds,
    "bad commands are refused and move nothing": _bad_commands_are_refused,
    REPEATABLE: _resets_repeat,
}
"""The contract: what is promised, and how it is checked."""
