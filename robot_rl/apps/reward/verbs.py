"""`robot-rl reward <verb>`: train a judge of progress, measure it, let it label, and attack it.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Each verb is a module `robot_rl.apps.reward.<verb>` with `Cfg` and `main(cfg)`, imported when it is
called.
"""

import importlib
import importlib.util
from collections.abc import Sequence

from robot_rl.errors import UnknownNameError

__all__ = ["VERBS", "main"]

VERBS = {
    "train": "train the embedded model on demonstrations and failures, in a minute",
    "configure": "put a vision-language judge into a folder, from a checkpoint or a server",
    "finetune": "teach a judge's model by your own episodes, with a low-rank adapter",
    "write": "let a language model write progress as a function of the state, and check it",
    "eval": "measure a model on labelled episodes, and make its page",
    "label": "write progress, and verdicts where nobody gave one, beside stored episodes",
    "audit": "look for states that score high without success",
    "compare": "measure several models on the same episodes",
    "serve": "offer a model to labelers on this machine or others",
}


def available_verbs() -> dict[str, str]:
    """The verbs whose module is there, with their one-line help."""
    return {
        verb: line
        for verb, line in VERBS.items()
        if importlib.util.find_spec(f"robot_rl.apps.reward.{verb}") is not None
    }


def main(arguments: Sequence[str]) -> int:
    """Run one verb.

    Raises:
        UnknownNameError: There is no such verb.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    verb, *rest = arguments
    if verb not in available_verbs():
        raise UnknownNameError("verb of `robot-rl reward`", verb, available_verbs())
    import tyro

    module = importlib.import_module(f"robot_rl.apps.reward.{verb}")
    prog, line = f"robot-rl reward {verb}", VERBS[verb]
    cfg = tyro.cli(module.Cfg, prog=prog, description=f"{line[0].upper()}{line[1:]}.", args=rest)
    return int(module.main(cfg) or 0)


def _help() -> str:
    """What `robot-rl reward --help` prints."""
    lines = [
        "usage: robot-rl reward <verb> [options]",
        "",
        *(f"  {verb:<9} {line}" for verb, line in available_verbs().items()),
        "",
        "robot-rl reward <verb> --help tells a verb's options.",
    ]
    return "\n".join(lines)
