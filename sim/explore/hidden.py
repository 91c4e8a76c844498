"""Worlds whose parameters nobody here knows: twins in another process that only serve trials.

explore:   believed twins → motion → **measurement** → fit → posterior → task policy

    with HiddenWorld("rod", seed=3) as world:
        trial = world.probe(actions, Path("trial.npz"))   # a file of measurements, with noise
        wins = world.play(knobs, EVAL_SEEDS)               # outcomes of the task policy
        truth = world.reveal()                             # ends the serving

Nothing but trials, outcomes and, at the very end, the truth leaves the process. Drive gains,
loads and friction still differ a little from shot to shot, as the task draws them. A mismatched
world is also of another mass, with other contacts and gains, which no fit has as parameters.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robot_rl.config import from_plain, to_plain
from robot_rl.env.robot_env import RobotEnv
from robot_rl.errors import DataError
from robot_rl.types import F32, F64, RobotState
from sim.explore.policy import TuneCfg, success_of, tune
from sim.explore.probes import Probe, find_probe
from sim.explore.rehearsal import Uninterrupted
from sim.explore.trial import Trial, execute, load_trial
from sim.hidden import HiddenProcess, serve
from sim.port import SimPort
from sim.randomize import Exactly

__all__ = ["HiddenWorld"]

_SALT = 0xA51D  # so that no fit that draws from a small seed draws these numbers
_MISMATCH = {"mass": 0.2, "gain": 0.05, "contact": 0.5}
_READINGS = 25  # of the world at rest, averaged for the start of a trial


class HiddenWorld(HiddenProcess):
    """The other end of a hidden world.

    Args:
        probe: Name of the probe.
        seed: Draws its parameters, in its own process.
        is_mismatched: Whether the fitter's model is wrong in more than its parameters.
    """

    def __init__(self, probe: str, seed: int, *, is_mismatched: bool = False) -> None:
        find_probe(probe)
        words = (probe, str(seed), str(int(is_mismatched)))
        super().__init__(f"hidden {probe} {seed}", "sim.explore.hidden", *words)

    def probe(self, actions: F32, path: Path, *, seed: int = 0) -> Trial:
        """Do actions (steps, a) from the start of a seed, and read the file that was measured.

        Raises:
            PortError: It refuses, or has gone.
        """
        self._ask({"do": "probe", "actions": actions.tolist(), "seed": seed, "to": str(path)})
        return load_trial(path)

    def play(self, knobs: F64, seeds: Sequence[int]) -> np.ndarray:
        """(n,) bool: which episodes the task policy wins.

        Raises:
            PortError: It refuses, or has gone.
        """
        done = self._ask({"do": "play", "knobs": list(knobs), "seeds": list(seeds)})
        return np.array(done["success"], bool)

    def play_oracle(self, seeds: Sequence[int], cfg: TuneCfg) -> np.ndarray:
        """As `play`, with knobs that were tuned in there, in the world as it is."""
        done = self._ask({"do": "oracle", "tune": to_plain(cfg), "seeds": list(seeds)})
        return np.array(done["success"], bool)

    def reveal(self) -> dict[str, float]:
        """The truth by parameter name; afterwards it serves no more."""
        return self._ask({"do": "reveal"})["values"]


class _Spoiled:
    """A task whose scene differs from the one that fitters build."""

    def __init__(self, probe: Probe, rng: np.random.Generator) -> None:
        self._twin, self._seed = probe.twin, int(rng.integers(2**31))
        self._bodies = {target for _, target, *_ in probe.unknown if isinstance(target, str)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twin, name)

    def build(self) -> mujoco.MjSpec:
        """The scene, with other masses, gains and contacts."""
        rng, spec = np.random.default_rng(self._seed), self._twin.build()
        for body in spec.bodies:
            if body.name in self._bodies:
                ratio = 1 + rng.uniform(-1, 1) * _MISMATCH["mass"]
                body.mass *= ratio
                body.inertia = np.array(body.inertia) * ratio
                for geom in body.geoms:
                    geom.mass *= ratio
                    geom.solref[0] *= 1 + rng.uniform(0, 1) * _MISMATCH["contact"]
        for joint in self._twin.robot.arms[0].joint_names:
            drive = spec.actuator(joint)
            stiff = 1 + rng.uniform(-1, 1) * _MISMATCH["gain"]
            drive.gainprm[0] *= stiff
            drive.biasprm[1] *= stiff
        return spec


@dataclass(frozen=True, kw_only=True, eq=False)
class _Hidden:
    """The world itself, with what only this process knows."""

    name: str
    probe: Probe
    belief: Exactly

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one line asks."""
        do = request["do"]
        if do == "probe":
            trial = self._execute(np.array(request["actions"], np.float32), int(request["seed"]))
            return {"hash": trial.save(Path(request["to"]))}
        if do == "play":
            knobs = np.array(request["knobs"], np.float64)
            return {
                "success": success_of(self.probe, self.belief, knobs, request["seeds"]).tolist()
            }
        if do == "oracle":
            tuned = tune(self.probe, self.belief, from_plain(TuneCfg, request["tune"]))
            won = success_of(self.probe, self.belief, tuned.x, request["seeds"])
            return {"success": won.tolist(), "knobs": tuned.x.tolist()}
        if do == "reveal":
            return {"values": self.belief.parameters.as_dict(self.belief.values)}
        raise DataError(f"do is '{do}', but must be probe, play, oracle or reveal.")

    def _execute(self, actions: F32, seed: int) -> Trial:
        """Through the environment and its limits, from a start of the task."""
        twin = Uninterrupted(self.probe.twin, self.belief)
        env = RobotEnv(SimPort(twin), twin.task)
        env.reset(seed=seed)
        rng = np.random.default_rng([_SALT, seed])
        resting = [True]

        def read() -> RobotState:
            state = env.port.read()
            readings, resting[0] = (_READINGS if resting[0] else 1), False
            return _noisy(self.probe, state, rng, readings)

        try:
            return execute(env, self.name, actions, self.probe.channels, read=read)
        finally:
            env.close()


def _noisy(probe: Probe, state: RobotState, rng: np.random.Generator, readings: int) -> RobotState:
    """A state as sensors give it: the mean of some readings, each with its channel's noise."""
    poses, signals, q_rad = dict(state.poses), dict(state.signals), state.q_rad
    for channel in probe.channels:
        std = channel.std / np.sqrt(readings)
        if channel.kind == "joints":
            q_rad = q_rad + std * rng.standard_normal(q_rad.shape)
        elif channel.kind == "signal":
            signals[channel.name] = signals[channel.name] + std * rng.standard_normal(1)
        else:
            pose = poses[channel.name].copy()
            if channel.kind == "xy":
                pose[:2] += std * rng.standard_normal(2)
            else:
                turn = np.array([0.0, 0.0, std * rng.standard_normal()])
                mujoco.mju_quatIntegrate(pose[3:], turn, 1.0)
            poses[channel.name] = pose
    return replace(state, poses=poses, signals=signals, q_rad=q_rad)


def _draw(name: str, seed: int, *, is_mismatched: bool) -> _Hidden:
    """The hidden world of a seed."""
    rng = np.random.default_rng([_SALT, sum(name.encode()), seed])
    probe = find_probe(name)
    values = probe.parameters.sample_prior(1, rng)[0]
    belief = Exactly(parameters=probe.parameters, values=values)
    if is_mismatched:
        probe.__dict__["twin"] = _Spoiled(probe, rng)
    return _Hidden(name=name, probe=probe, belief=belief)


def main(arguments: list[str] | None = None) -> int:
    """Serve one hidden world on standard input and output, one JSON object a line."""
    name, seed, mismatched = sys.argv[1:] if arguments is None else arguments
    hidden = _draw(name, int(seed), is_mismatched=mismatched == "1")
    serve(hidden.answer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
