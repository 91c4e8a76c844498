"""How well robots are identified whose parameters another process keeps to itself.

    python tests/benchmarks/bench_identify.py [--seeds 5] [--baselines 5] [--toolbox 1] [--long 1]

Hidden twins A (well specified) and B (mismatched) of `sim.identify.hidden`: 22 unknowns, one 8 s
motion to fit, three others that differ in amplitude and speed to predict, encoders with 0.3 mrad
and 5 mrad/s of noise. The baselines get the same residuals, prior and number of rollouts as ours;
"gains" is ours with the drives' gains unknown, too, but for what a data sheet says (5 %).
Errors are against what the hidden process reveals after the last fit; held-out errors against its
motions without noise. Each piece is kept under the hash of what it depends on, so that a second
call goes on where the first stopped.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from identify_baselines import cma_es, random_search

from robot_rl.config import config_hash, git_revision, to_plain, write_atomically
from robot_rl.types import F64
from sim.identify.arm import WITH_GAINS, arm_parameters
from sim.identify.crosscheck import largest_disagreement, toolbox_fit
from sim.identify.excitation import find_motion
from sim.identify.fit import identify
from sim.identify.hidden import HiddenRobot, nominal_arm
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.measurement import Measurement, load_measurement
from sim.identify.motion import ExcitationCfg, Motion
from sim.identify.parameters import ParameterSet
from sim.identify.replay import MotionReplay

MOTION = ExcitationCfg()
HELD_OUT = (
    ExcitationCfg(base_hz=0.15, amplitude_rad=0.6),
    ExcitationCfg(base_hz=0.25, amplitude_rad=0.3),
    ExcitationCfg(base_hz=0.35, amplitude_rad=0.2),
)
FIT = LeastSquaresCfg()
GATES = {
    "A": {
        "chi2": (0.95, 1.05),
        "gain": (30, None),
        "armature_percent": (None, 10),
        "damping_percent": (None, 10),
        "friction_percent": (None, 25),
        "delay_ms": (None, 0.2),
        "mean_z": (0.5, 1.3),
        "cpu_s": (None, 60),
    },
    "B": {"gain": (4, None), "delay_ms": (None, 1.0)},
}
BASELINES = ("gains", "random", "cma")
LONG = 3600  # rollouts of the long CMA-ES


class Piece:
    """One result that is computed once."""

    def __init__(self, out: Path, name: str, what: Any) -> None:
        self.path = out / "pieces" / f"{name}-{config_hash(what)}.json"

    def get(self, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(to_plain(compute())) + "\n")
        return self.read()

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())


class Bench:
    """The nominal twin, the motions, and where pieces are kept."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.spec, self.robot = nominal_arm()
        self.parameters: ParameterSet = arm_parameters(self.spec.copy().compile(), self.robot.arms)
        self.sets = {
            "gains": arm_parameters(
                self.spec.copy().compile(),
                self.robot.arms,
                WITH_GAINS,
            )
        }
        self.what = {"fit": FIT, "motions": [MOTION, *HELD_OUT], "set": self.parameters.to_plain()}
        plain = Piece(out, "motions", self.what).get(self._find_motions)
        self.motions = [Motion.from_plain(one) for one in plain["motions"]]

    def _find_motions(self) -> dict[str, Any]:
        found = [find_motion(self.spec, self.robot, self.parameters, MOTION, seed=0)]
        for i, cfg in enumerate(HELD_OUT):
            found.append(find_motion(self.spec, self.robot, None, cfg, seed=100 + i))
        return {"motions": [one.to_plain() for one in found]}

    def measure(self, robot: HiddenRobot) -> list[Measurement]:
        """Files of all motions; the first is for fitting."""
        folder = self.out / "measured" / config_hash(self.what)
        paths = [folder / f"{robot.kind}{robot.seed}-{i}.npz" for i in range(len(self.motions))]
        for i, (path, motion) in enumerate(zip(paths, self.motions, strict=True)):
            if not path.exists():
                robot.move(motion, path, noise_seed=1000 * robot.seed + i)
        return [load_measurement(path) for path in paths]

    def fit(self, method: str, kind: str, seed: int, measured: Measurement) -> dict[str, Any]:
        """The piece of one method on one robot; knows the file only."""
        if method == "steps":  # `identify_in_steps`, from the pieces of its two steps
            known = self.fit("ours", kind, seed, measured)
            if known["is_trusted"] or known["chi2"] < 1:
                return known
            wider = self.fit("gains", kind, seed, measured)
            used = {key: known[key] + wider[key] for key in ("rollouts", "cpu_s")}
            return {**min(known, wider, key=lambda one: one["chi2"]), **used}
        rollouts = 0
        if method in ("random", "cma"):
            rollouts = int(self.piece("ours", kind, seed, measured).read()["rollouts"])
        piece = self.piece(method, kind, seed, measured, rollouts)
        return piece.get(lambda: self._compute(method, seed, measured, rollouts))

    def piece(
        self, method: str, kind: str, seed: int, measured: Measurement, rollouts: int = 0
    ) -> Piece:
        what = {**self.what, "method": method, "data": measured.hash, "rollouts": rollouts}
        if method in self.sets:
            what["set"] = self.sets[method].to_plain()
        return Piece(self.out, f"{kind}{seed}-{method}", what)

    def _compute(
        self, method: str, seed: int, measured: Measurement, rollouts: int
    ) -> dict[str, Any]:
        begun = time.process_time()
        if method in ("ours", "gains"):
            return self._ours(self.sets.get(method, self.parameters), measured, seed)
        if method == "toolbox":
            return self._toolbox(measured, seed)
        replay = MotionReplay(self.spec.copy(), self.parameters, [measured])
        prior_mean, prior_std = self.parameters.prior_mean, self.parameters.prior_std

        def residuals(x: F64) -> F64:
            return np.concatenate((replay.residuals(x), (x - prior_mean) / prior_std), 1)

        if method == "nominal":
            x = prior_mean
        elif method == "random":
            x = random_search(self.parameters, residuals, rollouts, seed)
        else:
            count = LONG if method == "cma-long" else rollouts
            x = cma_es(self.parameters, residuals, count, seed)
        used = replay.rollouts
        r = replay.residuals(x[None])[0]
        return {
            "mean": x,
            "chi2": float((r**2).sum() / (len(r) - len(x))),
            "rollouts": used,
            "cpu_s": time.process_time() - begun,
        }

    def _ours(self, parameters: ParameterSet, measured: Measurement, seed: int) -> dict[str, Any]:
        begun = time.process_time()
        found = identify(self.spec.copy(), parameters, [measured], FIT, seed=seed)
        return {
            "mean": found.mean,
            "std": found.std,
            "chi2": found.chi2,
            "is_trusted": found.is_trusted,
            "at_bound": found.at_bound,
            "unidentifiable": [one.words for one in found.unidentifiable],
            "agreeing_starts": found.details["agreeing_starts"],
            "rollouts": found.details["evaluations"],
            "cpu_s": time.process_time() - begun,
        }

    def _toolbox(self, measured: Measurement, seed: int) -> dict[str, Any]:
        ours = identify(self.spec.copy(), self.parameters, [measured], FIT, seed=seed)
        found = toolbox_fit(self.spec.copy(), self.parameters, [measured])
        name, gap = largest_disagreement(ours, found)
        return {
            "mean": found.coordinates,
            "std": found.std,
            "chi2": found.chi2,
            "rollouts": found.evaluations,
            "cpu_s": found.cpu_s,
            "disagrees_most": {"parameter": name, "deviations": gap},
        }

    def score(self, method: str, piece: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
        """Errors against what was revealed."""
        known = self.sets.get(method, self.parameters)
        if len(piece["mean"]) != len(known.names):
            known = self.sets["gains"]
        kept = [known.index(name) for name in self.parameters.names]  # what is revealed
        every = known.to_values(np.array(piece["mean"]))
        x, values = np.array(piece["mean"])[kept], every[kept]
        true = self.parameters.from_dict(truth["values"])
        off = 100 * np.abs(values / true - 1)
        nominal, fitted = self._held_out(known, np.stack((known.nominal, every)), truth)
        row = {
            "chi2": piece["chi2"],
            "nominal_mrad": nominal,
            "held_out_mrad": fitted,
            "gain": nominal / fitted,
            "armature_percent": float(np.median(off[self._of("armature")])),
            "damping_percent": float(np.median(off[self._of("damping")])),
            "friction_percent": float(np.median(off[self._of("frictionloss")])),
            "delay_ms": float(1e3 * np.abs(values - true)[self._of("delay")][0]),
            "rollouts": piece["rollouts"],
            "cpu_s": piece["cpu_s"],
        }
        if "std" in piece:
            gap = np.abs(x - self.parameters.to_coordinates(true))
            row["mean_z"] = float((gap / np.array(piece["std"])[kept]).mean())
        if "at_bound" in piece:
            row |= {"bound_hits": len(piece["at_bound"]), "trusted": piece["is_trusted"]}
        return row

    def _of(self, quantity: str) -> list[int]:
        every = enumerate(self.parameters.parameters)
        return [i for i, one in every if one.quantity == quantity]

    def _held_out(
        self, known: ParameterSet, values: F64, truth: dict[str, Any]
    ) -> tuple[float, float]:
        """RMS [mrad] over the held-out motions, nominal and fitted, against noise-free states."""
        replay = MotionReplay(self.spec.copy(), known, self.quiet)
        found = replay.predict(values)
        gaps = [
            one.position - np.array(states)
            for one, states in zip(found, truth["states"], strict=True)
        ]
        rms = [1e3 * float(np.sqrt(np.mean([(g[i] ** 2).mean() for g in gaps]))) for i in (0, 1)]
        return rms[0], rms[1]

    def run(
        self, kind: str, seed: int, methods: list[str], kept: bool
    ) -> dict[str, dict[str, Any]]:
        """All methods on one hidden robot, or those kept; the truth comes last."""
        with HiddenRobot(kind, seed) as robot:  # type: ignore[arg-type]
            fit_on, *self.quiet = self.measure(robot)
            if kept:
                there = [path.name for path in (self.out / "pieces").iterdir()]
                first = {"steps": "ours"}  # the first of them is a method of its own
                names = {m: f"{kind}{seed}-{first.get(m, m)}-" for m in methods}
                methods = [m for m in methods if any(n.startswith(names[m]) for n in there)]
            pieces = {method: self.fit(method, kind, seed, fit_on) for method in methods}
            truth = robot.reveal(tuple(self.motions[1:]))
        return {method: self.score(method, piece, truth) for method, piece in pieces.items()}


def missed_gates(kind: str, row: dict[str, Any]) -> list[str]:
    missed = []
    for key, (low, high) in GATES[kind].items():
        value = row[key]
        if (low is not None and value < low) or (high is not None and value > high):
            missed.append(f"{key} {value:.3g}")
    return missed


def show(title: str, row: dict[str, Any]) -> None:
    cells = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    print(f"{title:<14} {', '.join(cells)}", flush=True)


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in rows[0] if all(key in row for row in rows)]
    return {
        key: {
            "median": float(np.median([row[key] for row in rows])),
            "worst": [float(min(row[key] for row in rows)), float(max(row[key] for row in rows))],
        }
        for key in keys
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=["A", "B"])
    parser.add_argument("--baselines", type=int, default=5, help="robots of a kind that get them")
    parser.add_argument("--toolbox", type=int, default=1, help="robots that mujoco.sysid fits too")
    parser.add_argument("--long", type=int, default=1, help=f"robots with {LONG} rollouts of CMA")
    parser.add_argument("--kept", action="store_true", help="only what earlier calls have fitted")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/identify"))
    args = parser.parse_args()
    bench, result = Bench(args.out), {"revision": git_revision(), "gates": GATES, "robots": {}}
    for kind in args.kinds:
        for seed in range(args.seeds):
            extra = ["toolbox"] if kind == "A" and seed < args.toolbox else []
            extra += ["cma-long"] if kind == "A" and seed < args.long else []
            extra += BASELINES if seed < args.baselines else []
            rows = bench.run(kind, seed, ["nominal", "ours", "steps", *extra], args.kept)
            for method, row in rows.items():
                show(f"{kind}{seed} {method}", row)
            result["robots"][f"{kind}{seed}"] = rows
            if missed := missed_gates(kind, rows["steps"]):
                print(f"{kind}{seed} misses: {', '.join(missed)}", flush=True)
    summary = {}
    for kind in args.kinds:
        robots = [result["robots"][f"{kind}{seed}"] for seed in range(args.seeds)]
        for method in dict.fromkeys(name for rows in robots for name in rows):
            rows = [rows[method] for rows in robots if method in rows]
            summary[f"{kind} {method}"] = {"robots": len(rows), **medians(rows)}
    result["summary"] = summary
    path = args.out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
