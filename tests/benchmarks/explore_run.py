"""Hidden worlds, probed, fitted and mastered: the pieces of `bench_explore` and `bench_transfer`.

A piece is kept under the hash of its settings, so that a run that was stopped goes on where it
was. A world is revealed after its trials are fitted; what is tuned later reads posteriors only.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.apps.data_tables import Output
from robot_rl.config import config_hash, git_revision, write_atomically
from sim.explore.hidden import HiddenWorld
from sim.explore.plan import PlanCfg, SearchCfg, plan_motion
from sim.explore.policy import TuneCfg, tune
from sim.explore.probes import Probe, find_probe
from sim.explore.trial import fit_trials
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.posterior import Posterior
from sim.randomize import Exactly, Uniform
from sim.twin import EVAL_SEEDS

PIECES = Path("runs/bench/explore")
PLAN_SEARCH = SearchCfg(candidates=12, iterations=3, elites=4)
TUNE_SEARCH = SearchCfg(candidates=8, iterations=3, elites=3)
FIT = LeastSquaresCfg(starts=3, candidates=16, iterations=6, step=0.1)


@dataclass(frozen=True, kw_only=True)
class RunCfg:
    """What one hidden world is put through; every field is part of the hash."""

    probe: str
    objectives: tuple[str, ...] = ("a-optimal",)
    plan: PlanCfg = field(default_factory=lambda: PlanCfg(draws=4, search=PLAN_SEARCH))
    fit: LeastSquaresCfg = field(default_factory=lambda: FIT)
    tune: TuneCfg = field(default_factory=lambda: TuneCfg(episodes=8, search=TUNE_SEARCH))
    episodes: int = 40
    trials: int = 1
    is_mismatched: bool = False


SHORT = SearchCfg(candidates=8, iterations=2, elites=3)
SETTINGS: dict[str, RunCfg] = {
    "slide": RunCfg(probe="slide"),
    "rod": RunCfg(probe="rod", tune=TuneCfg(episodes=6, search=SHORT)),
    "peg": RunCfg(probe="peg", tune=TuneCfg(episodes=6, search=TUNE_SEARCH)),
    "drawer": RunCfg(probe="drawer"),
    "heavy": RunCfg(probe="heavy"),
}
"""Of each probe, as small as its landscape allows."""


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    Output().table(title, heads, rows)


def kept(name: str, settings: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The piece of some settings: read if it is there, else made and written."""
    path = PIECES / f"{name}-{config_hash(settings)}.json"
    if path.exists():
        return json.loads(path.read_text())
    begun = time.process_time()
    piece = {"revision": git_revision(), **make()}
    piece["cpu_s"] = round(time.process_time() - begun, 1)
    PIECES.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(piece, indent=1) + "\n")
    return piece


def plan(cfg: RunCfg, probe: Probe, objective: str) -> dict[str, Any]:
    """The motion that an objective chooses in the prior."""
    settings = {"probe": cfg.probe, "plan": asdict(cfg.plan), "objective": objective}

    def make() -> dict[str, Any]:
        prior = Uniform(parameters=probe.parameters)
        wanted = PlanCfg(**{**vars(cfg.plan), "objective": objective})
        found = plan_motion(
            probe.rehearsal(), probe.motion, probe.start(), prior, wanted, is_safe=probe.is_safe
        )
        return {"at": found.x.tolist(), **found.as_dict(probe.motion.names)}

    return kept(f"plan-{cfg.probe}-{objective}", settings, make)


def baseline(cfg: RunCfg, probe: Probe, name: str) -> dict[str, Any]:
    """The knobs of who measures nothing."""
    nominal = Exactly(parameters=probe.parameters, values=probe.parameters.nominal)
    belief = Uniform(parameters=probe.parameters) if name == "uniform" else nominal
    forces = probe.forces if name == "forces" else None
    settings = {"probe": cfg.probe, "tune": asdict(cfg.tune), "baseline": name}

    def make() -> dict[str, Any]:
        found = tune(probe, belief, cfg.tune, forces=forces)
        return {"knobs": found.x.tolist(), "score": found.score}

    return kept(f"baseline-{cfg.probe}-{name}", settings, make)


def explored(cfg: RunCfg, seed: int) -> dict[str, Any]:
    """One hidden world, probed and fitted; at the end the truth."""
    names = ("probe", "objectives", "plan", "fit", "trials", "is_mismatched")
    settings = {**{name: asdict(cfg)[name] for name in names}, "seed": seed}
    return kept(f"explored-{cfg.probe}-{seed}", settings, lambda: _explored(cfg, seed))


def _explored(cfg: RunCfg, seed: int) -> dict[str, Any]:
    probe = find_probe(cfg.probe)
    rehearsal, motion = probe.rehearsal(), probe.motion
    ways = {"random": None, **{name: plan(cfg, probe, name)["at"] for name in cfg.objectives}}
    rng = np.random.default_rng([seed, 7])
    fits: dict[str, Any] = {}
    with HiddenWorld(cfg.probe, seed, is_mismatched=cfg.is_mismatched) as hidden:
        for name, x in ways.items():
            trials = []
            for i in range(cfg.trials):
                point = rng.uniform(motion.low, motion.high) if x is None else np.array(x)
                file = PIECES / "trials" / f"{cfg.probe}-{seed}-{name}-{i}.npz"
                actions = motion.actions(point[None])[0]
                trials.append(hidden.probe(actions, file, seed=100 * seed + i))
            posterior = fit_trials(rehearsal, trials, cfg.fit, seed=seed)
            posterior.save(_posterior_path(cfg, seed, name))
            fits[name] = {
                "values": posterior.parameters.as_dict(posterior.values),
                "std": posterior.std.tolist(),
                "chi2": posterior.chi2,
                "at_bound": list(posterior.at_bound),
                "cpu_s": posterior.details["cpu_s"],
            }
        truth = hidden.reveal()
    return {"seed": seed, "truth": truth, "fits": fits}


def _posterior_path(cfg: RunCfg, seed: int, name: str) -> Path:
    mark = "-mismatched" if cfg.is_mismatched else ""
    return PIECES / "posteriors" / f"{cfg.probe}-{seed}-{name}{mark}.json"


def played(cfg: RunCfg, seed: int) -> dict[str, Any]:
    """The outcomes of all beliefs in one hidden world, which was explored before."""
    settings = {**asdict(cfg), "seed": seed}
    return kept(f"world-{cfg.probe}-{seed}", settings, lambda: _played(cfg, seed))


def _played(cfg: RunCfg, seed: int) -> dict[str, Any]:
    probe, seeds = find_probe(cfg.probe), EVAL_SEEDS[: cfg.episodes]
    knobs = {
        name: np.array(baseline(cfg, probe, name)["knobs"])
        for name in ("nominal", "uniform", "forces")
    }
    for name in explored(cfg, seed)["fits"]:
        posterior = Posterior.load(_posterior_path(cfg, seed, name))
        knobs[name] = tune(probe, posterior, cfg.tune).x
    with HiddenWorld(cfg.probe, seed, is_mismatched=cfg.is_mismatched) as hidden:
        wins = {name: hidden.play(x, seeds).tolist() for name, x in knobs.items()}
        wins["oracle"] = hidden.play_oracle(seeds, cfg.tune).tolist()
    return {"seed": seed, "knobs": {n: x.tolist() for n, x in knobs.items()}, "wins": wins}
