"""`robot-rl explore <step>`: choose a motion that tells most, do it, and fit what it told.

The unknowns of an object (friction, balance, damping) are not found by waving the arm. `plan`
searches, in twins drawn from a prior or from an earlier posterior, for the motion that tells most
about them; `run` does it in a twin through the environment and its limits and keeps the
measurements; `fit` turns one or more trials into a posterior, from which later twins are drawn.

    robot-rl explore plan rod --out plan.json
    robot-rl explore run plan.json --out trial.npz
    robot-rl explore fit trial.npz --out posterior.json
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from tyro.conf import Positional

from robot_rl.apps.data_tables import Output
from robot_rl.config import git_revision, write_atomically
from robot_rl.errors import ConfigError, DataError, MissingExtraError, RobotRLError

try:
    from sim.explore.hidden import HiddenWorld
    from sim.explore.plan import PlanCfg, plan_motion
    from sim.explore.probes import find_probe
    from sim.explore.trial import FIT, fit_trials, load_trial
    from sim.identify.least_squares import LeastSquaresCfg
    from sim.identify.posterior import Posterior
    from sim.randomize import Uniform
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "mujoco", "sim", "the twin") from error

if TYPE_CHECKING:
    from sim.randomize import Belief

__all__ = ["Fit", "Plan", "Run", "main", "run"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Choose the motion that tells most about an unknown world."""

    probe: Positional[str]
    """What is unknown: slide, heavy, rod, drawer or peg."""
    out: Path
    """The plan, as JSON."""
    posterior: Path | None = None
    """What is already known; without it, all between the bounds is as likely."""
    plan: PlanCfg = field(default_factory=PlanCfg)
    """How to choose."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Do a planned motion in a twin whose parameters are hidden, and keep what was measured."""

    plan: Positional[Path]
    """Written by `plan`."""
    out: Path
    """The trial, as .npz."""
    twin: int = 0
    """Seed of the hidden twin's parameters."""
    seed: int = 0
    """Draws start and noise of this trial."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit trials: a posterior over the unknown parameters."""

    trials: Positional[tuple[Path, ...]]
    """Of one probe."""
    out: Path
    """The posterior, as JSON."""
    fit: LeastSquaresCfg = FIT
    """How hard to look."""
    seed: int = 0
    """Draws the starts of the fit."""


def _plan(args: Plan, out: Output) -> int:
    probe = find_probe(args.probe)
    belief: Belief = Uniform(parameters=probe.parameters)
    if args.posterior is not None:
        posterior = Posterior.load(args.posterior)
        if posterior.parameters.names != probe.parameters.names:
            raise ConfigError(
                f"{args.posterior} is of {', '.join(posterior.parameters.names)}, but "
                f"'{args.probe}' asks for {', '.join(probe.parameters.names)}. Fit a trial of it."
            )
        belief = posterior
    found = plan_motion(
        probe.rehearsal(),
        probe.motion,
        probe.start(),
        belief,
        args.plan,
        is_safe=probe.is_safe,
    )
    content = {
        "format": _FORMAT,
        "probe": args.probe,
        "objective": args.plan.objective,
        "revision": git_revision(),
        **found.as_dict(probe.motion.names),
    }
    _write(args.out, content)
    left = np.sqrt(np.diag(np.linalg.inv(found.information + np.eye(len(probe.parameters)))))
    numbers = zip(probe.motion.names, found.x, strict=True)
    out.line(", ".join(f"{name} {value:.3f}" for name, value in numbers))
    rows = [(n, f"{s:.4f}") for n, s in zip(probe.parameters.names, left, strict=True)]
    out.table("Expected to be left, of the prior's deviation", ("parameter", "share"), rows)
    out.line(f"saved {args.out} after {found.rollouts} rehearsals. Next: robot-rl explore run")
    return 0


def _run(args: Run, out: Output) -> int:
    plan = _read(args.plan)
    probe = find_probe(plan["probe"])
    point = np.array([plan["x"][name] for name in probe.motion.names])
    with HiddenWorld(plan["probe"], args.twin) as world:
        trial = world.probe(probe.motion.actions(point[None])[0], args.out, seed=args.seed)
    out.line(
        f"{args.out}: {len(trial.actions)} actions on '{trial.probe}', hash {trial.hash}. "
        f"Next: robot-rl explore fit {args.out}"
    )
    return 0


def _fit(args: Fit, out: Output) -> int:
    trials = [load_trial(path) for path in args.trials]
    names = sorted({trial.probe for trial in trials})
    if len(names) != 1:
        raise DataError(f"trials are of {', '.join(names) or 'nothing'}. Give those of one probe.")
    probe = find_probe(names[0])
    posterior = fit_trials(probe.rehearsal(), trials, args.fit, seed=args.seed)
    identity = posterior.save(args.out)
    rows = []
    for one, value in zip(posterior.parameters.parameters, posterior.values, strict=True):
        interval = posterior.interval(one.name)
        said = f"{interval[0]:.4g} … {interval[1]:.4g}" if interval else "not said: see chi2"
        bound = "at its bound" if one.name in posterior.at_bound else ""
        rows.append((one.name, f"{value:.4g}", one.unit, said, bound))
    out.table("Posterior", ("parameter", "value", "unit", "95 %", ""), rows)
    out.line(f"chi2 {posterior.chi2:.2f}; saved {args.out}, hash {identity}")
    for direction in posterior.unidentifiable:
        out.line(f"the trials say little about {direction.words}")
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"cannot save a plan at {path}: {error.strerror}.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        plan = json.loads(path.read_text())
        known = isinstance(plan, dict) and plan.get("format") == _FORMAT
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no plan that can be read: {error}.") from error
    if not known:
        raise DataError(f"{path} is no plan of this robot_rl. Make one: robot-rl explore plan.")
    return plan


_VERBS = {Plan: _plan, Run: _run, Fit: _fit}
_Verb = (
    Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
)


def run(verb: Plan | Run | Fit) -> int:
    """Do what a parsed verb says.

    Raises:
        RobotRLError: It could not be done; the message says what to do next.
    """
    return _VERBS[type(verb)](verb, Output())


def main(args: Sequence[str] | None = None) -> int:
    """Parse `robot-rl explore` arguments, run the step, and return the exit code."""
    verb = tyro.cli(_Verb, args=args, prog="robot-rl explore", description=__doc__)  # type: ignore[arg-type]
    try:
        return run(verb)
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
