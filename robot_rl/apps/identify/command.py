"""`robot-rl identify <step>`: excite, fit, report: the twin's parameters from the robot's motion.

`excite` records a motion of the twin, of a hidden one, or of a robot on the ROS graph; `fit` takes
such files, episode stores and bags alike; `report` shows what came out.

    robot-rl identify excite data/fit.npz --hidden A --seed 3
    robot-rl identify excite data/check.npz --hidden A --seed 3 --motion.base-hz 0.3
    robot-rl identify fit data/fit.npz --held-out data/check.npz --out identified/arm.json
    robot-rl identify report identified/arm.json

On a robot, at the softest impedance that it has; it shows what it will do, and asks first:

    robot-rl identify excite data/fit.npz --port ros --robot fr3 --share 0.2

Or record its graph while something else moves it:

    ros2 bag record -s mcap /robot/joint_states /robot/arm_bridge/executed
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mujoco
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.identify.excite import excite
from robot_rl.apps.identify.sources import joint_offset, load_measurements
from robot_rl.apps.identify.verbs import Excite, Fit, IdentifyVerb, Report
from robot_rl.apps.ros import find_robot
from robot_rl.control.robot_file import RobotFile, load_robot
from robot_rl.errors import ConfigError, DataError, RobotRLError
from sim.identify.arm import ARM_DEFAULT, WITH_GAINS, arm_parameters, arm_scene
from sim.identify.fit import HeldOut, held_out_errors, identify_in_steps
from sim.identify.measurement import Measurement
from sim.identify.posterior import Posterior

__all__ = ["main", "run"]


def _fit(args: Fit, out: Output, command: str) -> int:
    file = load_robot(find_robot(args.robot))
    measured = _load(args.measurements, file, args.namespace)
    held_out = _load(args.held_out, file, args.namespace)
    share = _share(args.share, [*measured, *held_out])
    spec = arm_scene(file.spec, share)
    steps = [
        arm_parameters(spec.copy().compile(), file.spec.arms, unknowns, factor=args.factor)
        for unknowns in ((args.unknowns,) if args.unknowns else (ARM_DEFAULT, WITH_GAINS))
    ]
    posterior = identify_in_steps(spec, steps, measured, args.search, seed=args.seed)
    posterior = posterior.with_details(
        command=command,
        robot=args.robot,
        namespace=args.namespace,
        share=share,
        fitted_on=[str(path) for path in args.measurements],
        predicted=[str(path) for path in args.held_out],
    )
    if held_out:
        errors = held_out_errors(spec.copy(), posterior, held_out)
        posterior = posterior.with_details(held_out=[_plain(one) for one in errors])
    if args.cross_check:
        posterior = _cross_check(posterior, spec, measured)
    _tell(posterior, out)
    name = posterior.save(args.out)
    out.line(f"saved {args.out}, hash {name}. Next: robot-rl identify report {args.out}")
    return 0


def _report(args: Report, out: Output) -> int:
    from robot_rl.apps.identify.page import write_identification_page

    posterior = Posterior.load(args.posterior)
    facts = posterior.details
    if "robot" not in facts:
        raise DataError(
            f"{args.posterior} does not say which robot and files it is from. Make it with "
            "`robot-rl identify fit`."
        )
    file = load_robot(find_robot(facts["robot"]))
    load = [
        _load([Path(path) for path in facts[key]], file, facts["namespace"])
        for key in ("fitted_on", "predicted")
    ]
    _refuse_other_files(posterior, load[0])
    path = args.out or args.posterior.with_suffix(".html")
    write_identification_page(path, posterior, arm_scene(file.spec, facts["share"]), *load)
    out.line(f"report: {path}")
    return 0


def _load(paths: Sequence[Path], file: RobotFile, namespace: str) -> list[Measurement]:
    """All measurements of some paths, of the joints of a robot."""
    channels = [name for arm in file.spec.arms for name in arm.joint_names]
    topics = [driver.joint_states for driver in file.drivers]
    offset_rad = joint_offset(file)
    return [
        one
        for path in paths
        for one in load_measurements(
            path, channels, namespace=namespace, topics=topics, offset_rad=offset_rad
        )
    ]


def _share(given: float | None, measurements: Sequence[Measurement]) -> float:
    """Of the nominal gains that the drives had."""
    if given is not None:
        return given
    said = {float(one.facts.get("share", 1.0)) for one in measurements}
    if len(said) > 1:
        raise ConfigError(
            f"the measurements were taken with {sorted(said)} of the drives' gains. Fit those of "
            "one share together, or say --share."
        )
    return said.pop()


def _plain(one: HeldOut) -> dict[str, Any]:
    return {
        "source": one.source,
        "nominal_mrad": 1e3 * one.nominal_rms,
        "fitted_mrad": 1e3 * one.fitted_rms,
        "gain": one.gain,
    }


def _cross_check(
    posterior: Posterior, spec: mujoco.MjSpec, measured: Sequence[Measurement]
) -> Posterior:
    from sim.identify.crosscheck import largest_disagreement, toolbox_fit

    other = toolbox_fit(spec.copy(), posterior.parameters, measured)
    name, gap = largest_disagreement(posterior, other)
    return posterior.with_details(
        cross_check={
            "values": posterior.parameters.as_dict(
                posterior.parameters.to_values(other.coordinates)
            ),
            "chi2": other.chi2,
            "disagrees_most": name,
            "by_deviations": gap,
            "evaluations": other.evaluations,
            "cpu_s": round(other.cpu_s, 2),
        }
    )


def _tell(posterior: Posterior, out: Output) -> None:
    """Parameters, with intervals if they may be given, and what speaks against trusting them."""
    rows = []
    for one, value in zip(posterior.parameters.parameters, posterior.values, strict=True):
        ends = posterior.interval(one.name)
        interval = f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "withheld"
        mark = "at its bound" if one.name in posterior.at_bound else ""
        rows.append((one.name, f"{one.nominal:.4g}", f"{value:.4g}", interval, one.unit, mark))
    out.table(
        "What was found", ("parameter", "nominal", "found", "95 % interval", "unit", ""), rows
    )
    out.line(posterior.verdict)
    for direction in posterior.unidentifiable:
        out.line(f"not identified: {direction.words}")
    for one in posterior.details.get("held_out", []):
        out.line(
            f"held out {one['source']}: {one['fitted_mrad']:.3f} mrad, nominal "
            f"{one['nominal_mrad']:.3f} mrad, {one['gain']:.1f} times better"
        )
    if other := posterior.details.get("cross_check"):
        out.line(
            f"mujoco.sysid: chi2 {other['chi2']:.3f}; disagrees most on "
            f"{other['disagrees_most']}, by {other['by_deviations']:.2f} deviations"
        )


def _refuse_other_files(posterior: Posterior, measured: Sequence[Measurement]) -> None:
    """Raise if the files are not those that were fitted."""
    before = [one["hash"] for one in posterior.details["measurements"]]
    if [one.hash for one in measured] != before:
        raise DataError(
            "the measurements have changed since the fit. Run robot-rl identify fit again."
        )


def run(verb: IdentifyVerb, command: str = "") -> int:  # pyright: ignore[reportInvalidTypeForm]
    """Do what a parsed verb says.

    Raises:
        RobotRLError: It could not be done; the message says what to do next.
    """
    out = Output()
    if isinstance(verb, Fit):
        return _fit(verb, out, command)
    steps: dict[type, Callable[..., int]] = {Excite: excite, Report: _report}
    return steps[type(verb)](verb, out)


def main(args: Sequence[str] | None = None) -> int:
    """Parse `robot-rl identify` arguments, run the verb, and return the exit code."""
    verb = tyro.cli(IdentifyVerb, args=args, prog="robot-rl identify", description=__doc__)  # type: ignore[arg-type]
    command = shlex.join(["robot-rl", "identify", *(sys.argv[2:] if args is None else args)])
    try:
        return run(verb, command)
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
