"""`robot-rl <verb>`: finds the verb's module, reads its options, turns errors into one clear line.

A verb is a module `robot_rl.apps.<verb>` with a frozen dataclass `Cfg` (field docstrings are its
help) and `main(cfg) -> int`, and with `preset(arguments) -> Cfg` where defaults depend on other
options; one with verbs of its own reads them itself in `main(arguments)`. It is imported only when
it is called, so that help is instant and a laptop needs neither ROS nor a renderer. A verb whose
module is not installed does not exist.
"""

import difflib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence

from robot_rl.errors import RobotRLError

__all__ = ["VERBS", "available_verbs", "main"]

VERBS = {
    "demo": "the whole job in the twin, in minutes: demonstrations, base, residual, report",
    "record": "demonstrate a task yourself, by keyboard, gamepad or SpaceMouse, into a store",
    "collect": "record demonstrations into an episode store",
    "bc": "train a base policy on demonstrations by behavior cloning",
    "pretrain": "learn from data and in many twins side by side, before there is a robot",
    "train": "improve a base policy by residual RL, on any environment",
    "learner": "learn what the actor of a run records, in another process or elsewhere",
    "eval": "measure a policy on given seeds",
    "report": "make the page of one run",
    "compare": "make the page that compares runs",
    "data": "look into episode stores, check, mend, merge and split them",
    "reward": "train a judge of progress, measure it, attack it, let it label",
    "calibrate": "print boards; measure cameras, joints and delays; say how far to trust them",
    "explore": "choose a motion that tells most about an object, do it, fit what it told",
    "identify": "fit the twin to a robot in motion, and say how far to trust it",
    "doctor": "say what works on this machine, and how to mend what does not",
}


def available_verbs() -> dict[str, str]:
    """The verbs whose module is there, with their one-line help."""
    return {
        verb: line
        for verb, line in VERBS.items()
        if importlib.util.find_spec(f"robot_rl.apps.{verb}") is not None
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 2 the user can mend it, 130 stopped by Ctrl-C; a verb may give more.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"robot-rl {version('robot-rl')}")
        return 0
    verb, *rest = arguments
    if verb not in available_verbs():
        print(f"error: {_unknown(verb)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return _run(verb, rest)
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(verb: str, arguments: Sequence[str]) -> int:
    """Import the verb, read its options and call it."""
    module = importlib.import_module(f"robot_rl.apps.{verb}")
    if not hasattr(module, "Cfg"):
        return int(module.main(arguments) or 0)
    import tyro

    # A verb may choose its defaults by what is asked for, such as a method's preset.
    preset = {"default": module.preset(arguments)} if hasattr(module, "preset") else {}
    cfg = tyro.cli(
        module.Cfg,
        prog=f"robot-rl {verb}",
        description=f"{VERBS[verb][0].upper()}{VERBS[verb][1:]}.",
        args=arguments,
        **preset,
    )
    return int(module.main(cfg) or 0)


def _help() -> str:
    """What `robot-rl --help` prints."""
    lines = [
        "usage: robot-rl <verb> [options]",
        "",
        "From a handful of demonstrations to a skill that works every time.",
        "",
        *(f"  {verb:<9} {line}" for verb, line in available_verbs().items()),
        "",
        "robot-rl <verb> --help tells a verb's options.",
    ]
    return "\n".join(lines)


def _unknown(verb: str) -> str:
    """The error for a verb that is not there, with the one that was probably meant."""
    verbs = available_verbs()
    near = difflib.get_close_matches(verb, verbs, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown verb '{verb}'. Available: {', '.join(verbs)}.{hint}"
