"""From what is believed to what works: success of task policies in hidden worlds.

    python tests/benchmarks/bench_transfer.py [--probes slide rod] [--seeds 5] [--episodes 40]

The policy of a task is a script with one or two knobs (`sim.explore.probes`): the friction that a
shot believes, the place at which a rod is pushed. A belief tunes the knobs by the cross-entropy
method in its own twins, and they are then played in worlds that are processes of their own:

    nominal   the twin as built             uniform   twins drawn between the bounds
    forces    the nominal twin, with random forces on the object
    random    the posterior after one random trial
    a-optimal (and others) the posterior after one planned trial
    oracle    the hidden world itself, tuned in there

Reported: success with 95 % Wilson interval over all episodes, and which share of the way from
nominal to oracle it is. Tuning and evaluation use different episodes.
"""

import argparse
from dataclasses import replace

import numpy as np
from explore_run import SETTINGS, played, show_table

from robot_rl.learn.statistics import wilson

PLAYED = ("slide", "rod", "peg")


def main() -> None:
    """Run what is missing, and print a table a probe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--probes", nargs="+", default=list(PLAYED), choices=PLAYED)
    parser.add_argument("--objectives", nargs="+", default=["a-optimal"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--mismatched", action="store_true")
    args = parser.parse_args()
    for probe in args.probes:
        cfg = replace(
            SETTINGS[probe],
            objectives=tuple(args.objectives),
            episodes=args.episodes,
            is_mismatched=args.mismatched,
        )
        worlds = [played(cfg, seed) for seed in range(args.seeds)]
        title = f"{probe}, {args.seeds} hidden worlds of {args.episodes} episodes"
        show_table(title, ("belief", "success", "95 %", "of the gap", "worlds"), rows(worlds))


def rows(worlds: list[dict]) -> list[tuple[str, ...]]:
    """One row a belief."""
    wins = {name: np.array([one["wins"][name] for one in worlds]) for name in worlds[0]["wins"]}
    nominal, oracle = wins["nominal"].mean(), wins["oracle"].mean()
    table = []
    for name, won in wins.items():
        interval = wilson(int(won.sum()), won.size)
        share = (won.mean() - nominal) / (oracle - nominal) if oracle > nominal else np.nan
        each = " ".join(f"{100 * one.mean():.0f}" for one in won)
        table.append(
            (
                name,
                f"{100 * won.mean():.1f} %",
                f"{100 * interval.low:.1f} – {100 * interval.high:.1f}",
                f"{100 * share:.0f} %",
                each,
            )
        )
    return table


if __name__ == "__main__":
    main()
