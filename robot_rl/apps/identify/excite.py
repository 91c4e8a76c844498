"""`robot-rl identify excite`: a motion that tells much, of the twin or of a robot on the graph.

**motion → measurement** → parameters → fit → posterior → twins drawn from it
"""

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from robot_rl.apps.data_tables import Output
from robot_rl.apps.identify.verbs import Excite
from robot_rl.apps.ros import find_robot, ros_module
from robot_rl.control.kinematics import forward
from robot_rl.control.robot_file import RobotFile, load_robot
from robot_rl.errors import DataError, PortError
from robot_rl.types import F64, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.arm import arm_parameters, arm_scene
from sim.identify.clearance import Clearance
from sim.identify.excitation import find_motion
from sim.identify.hidden import HiddenRobot
from sim.identify.measurement import Measurement
from sim.identify.motion import Motion, approach
from sim.identify.play import SOFT_SHARE, play_motion

__all__ = ["excite"]

_SETTLE_S = 0.5  # between the way to the motion and the motion
_LOOK_EVERY = 10  # ticks between looks at clearances
_GAP = 3.5  # median periods without a message that are told


def excite(args: Excite, out: Output) -> int:
    """Plan a motion, do it, and save what was measured.

    Raises:
        RobotRLError: It could not be done, or not to its end; says what to do next.
    """
    file = load_robot(find_robot(args.robot))
    if args.port == "ros":
        return _on_graph(args, file, out)
    share = SOFT_SHARE if args.share is None else args.share
    motion = _plan(args, file.spec, share)
    if args.hidden:
        with HiddenRobot(args.hidden, args.seed, share=share) as hidden:
            measured = hidden.move(motion, args.out, noise_seed=args.seed)
    else:
        measured = _in_twin(args, file.spec, share, motion)
    return _keep(args, measured, _facts(args, share), motion, out)


def _plan(args: Excite, robot: RobotSpec, share: float) -> Motion:
    """The most informative of some motions; on a robot it may end at any instant."""
    spec = arm_scene(robot, share)
    parameters = arm_parameters(spec.copy().compile(), robot.arms, args.unknowns)
    return find_motion(
        spec,
        robot,
        parameters,
        args.motion,
        seed=args.seed,
        middle_rad=np.array(args.middle_rad) if args.middle_rad else None,
        may_brake=args.port == "ros",
    )


def _in_twin(args: Excite, robot: RobotSpec, share: float, motion: Motion) -> Measurement:
    """What the nominal twin does, with the delay that is believed."""
    spec = arm_scene(robot, share)
    parameters = arm_parameters(spec.copy().compile(), robot.arms, args.unknowns)
    parameters.prepare(spec)
    model: mujoco.MjModel = spec.compile()
    parameters.apply(model, parameters.nominal)
    return play_motion(model, robot, motion, encoders=args.encoders, seed=args.seed)


def _facts(args: Excite, share: float) -> dict[str, Any]:
    return {"share": share, "motion_seed": args.seed}


def _keep(
    args: Excite, measured: Measurement, facts: dict[str, Any], motion: Motion, out: Output
) -> int:
    measured = replace(measured, facts=facts)
    name = measured.save(args.out)
    for words, stamps in (("commands", measured.command_s), ("states", measured.state_s)):
        gaps_s = np.diff(stamps)
        if gaps_s.max() > _GAP * np.median(gaps_s):
            out.line(
                f"mind: {words} have come every {1e3 * np.median(gaps_s):.0f} ms, but once for "
                f"{1e3 * gaps_s.max():.0f} ms none. What the robot did then, the fit can only "
                "guess; measure again on a machine with less to do."
            )
    peaks = ", ".join(f"{key} {value:.2f}" for key, value in motion.peaks.items())
    out.line(
        f"{args.out}: {measured.duration_s:.1f} s of {measured.source}, {peaks}, hash {name}. "
        f"Next: robot-rl identify fit {args.out}"
    )
    return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What the robot shall do."""

    motion: Motion
    path: F64  # (m, dof) from where the arm stands, a row every 10 ms
    there: int  # rows until the arm is where the motion begins
    nearest: tuple[float, str]  # [m], and what

    @property
    def record_from(self) -> int:
        """The row at which the motion itself begins."""
        return len(self.path) - len(self.motion.q_rad)


def _on_graph(args: Excite, file: RobotFile, out: Output) -> int:
    """Plan from where the arm stands, say what it will do, do it, and keep what was measured."""
    from robot_rl.apps.identify.live import Ear, perform

    share = 1.0 if args.share is None else args.share
    facts = _facts(args, share) | {"robot": args.robot, "namespace": args.namespace}
    port = _port(args, file)
    with Ear(file, args.namespace, silence_s=args.silence_s) as ear:
        try:
            port.connect()
            motion = _plan(args, file.spec, share)
            ear.hear()
            plan = _with_way(args, file.spec, ear.commands.position, motion)
            _announce(args, file, plan, share, out)
            if not args.yes and not _is_wanted():
                out.line("Nothing was moved.")
                return 1
            rate_hz = file.bridge.rate_hz
            perform(port, ear, plan.path, record_from=plan.record_from, rate_hz=rate_hz)
        except (PortError, KeyboardInterrupt) as error:
            why = str(error) or "it was interrupted."
            raise PortError(f"{why} {_rescue(args, ear, facts | {'ended': why})}") from error
        finally:
            port.close()
        return _keep(args, ear.measurement(facts), facts, motion, out)


def _port(args: Excite, file: RobotFile) -> Any:
    """The door to the arm bridge."""
    ports = ros_module("robot_rl_control.ros_port")
    cfg = ports.RosPortCfg(
        robot=file.path,
        namespace=args.namespace,
        cameras=(),
        state_timeout_s=args.silence_s,
        bridge_timeout_s=args.silence_s,
    )
    return ports.RosPort(cfg)


def _with_way(args: Excite, robot: RobotSpec, here_rad: F64, motion: Motion) -> _Plan:
    """The motion with the way to it from `here_rad` (dof,)."""
    clearance = Clearance(arm_scene(robot).compile(), robot)
    there = approach(robot, clearance, here_rad, motion.q_rad[0], args.motion)
    settle = np.tile(motion.q_rad[0], (round(_SETTLE_S / BRIDGE_PERIOD_S), 1))
    path = np.concatenate((here_rad[None], there, settle, motion.q_rad))
    nearest = clearance.least_m(path[::_LOOK_EVERY])
    return _Plan(motion=motion, path=path, there=len(there), nearest=nearest)


def _rescue(args: Excite, ear: Any, facts: dict[str, Any]) -> str:
    """Keep what there is of a motion that ended early; returns what became of it, in words."""
    try:
        measured: Measurement = ear.measurement(facts)
        measured.save(args.out)
    except DataError:
        return "Nothing of the motion was measured."
    return f"What was measured until then, {measured.duration_s:.1f} s, is in {args.out}."


def _announce(args: Excite, file: RobotFile, plan: _Plan, share: float, out: Output) -> None:
    """Say what will be done, before anything is."""
    peaks, (least_m, where) = plan.motion.peaks, plan.nearest
    way = np.ptp(plan.path[: plan.there + 1], axis=0).max()
    rows = [
        ("robot", f"{file.spec.name} ({file.path}), by the arm bridge in {args.namespace}"),
        (
            "first",
            f"slowly to where the motion begins, {plan.there * BRIDGE_PERIOD_S:.1f} s, up to "
            f"{way:.2f} rad of a joint",
        ),
        (
            "then",
            f"{plan.motion.duration_s:.1f} s, all joints at once: up to {peaks['range_rad']:.2f} "
            f"rad, {peaks['speed_rad_s']:.2f} rad/s, {peaks['acceleration_rad_s2']:.1f} rad/s^2",
        ),
        *_boxes(file.spec, plan.path),
        ("nearest", f"{1e3 * least_m:.0f} mm, {where}; nothing else is known to stand there"),
        ("gains", f"taken to be {share:g} of the twin's nominal ones"),
    ]
    out.table("What the robot will do", ("", ""), rows)
    out.line("The hardware stop must be in reach. The operator's switch takes over at any time.")


def _boxes(robot: RobotSpec, path: F64) -> list[tuple[str, str]]:
    """Where the tools go, a row an arm."""
    rows, first = [], 0
    for arm in robot.arms:
        tool = forward(arm, path[:, first : first + arm.dof])[:, :3, 3]
        first += arm.dof
        ends = ", ".join(
            f"{axis} {low:.2f} to {high:.2f}"
            for axis, low, high in zip("xyz", tool.min(0), tool.max(0), strict=True)
        )
        rows.append((f"tool of {arm.name}", f"{ends} m in its base"))
    return rows


def _is_wanted() -> bool:
    """Whether the person at the terminal says yes; nobody there is no."""
    try:
        return input("Move the robot? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
