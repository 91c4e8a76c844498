"""One motion as it was executed, and what was measured: all that a fit of an object ever sees.

explore:   believed twins → motion → **measurement** → fit → posterior → task policy
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.config import config_hash
from robot_rl.env.robot_env import RobotEnv
from robot_rl.errors import DataError, NonFiniteError, ShapeError
from robot_rl.types import F32, F64, RobotState
from sim.explore.channels import Channel, measure, noise
from sim.explore.rehearsal import Rehearsal
from sim.identify.fit import fit_residuals
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.posterior import Posterior
from sim.sealed import load_sealed, save_sealed
from sim.twin import Start

__all__ = ["FIT", "FORMAT", "Trial", "execute", "fit_trials", "load_trial", "start_of"]

FORMAT = 1
FIT = LeastSquaresCfg(starts=4, candidates=32, iterations=8, step=0.1)
"""Contacts make rough landscapes: a puck's way jumps by millimetres when its friction changes by a
thousandth. Hence many candidates, a few descents, and differences wider than the roughness."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Actions that were executed, after all limits, and the measurements that followed.

    `probe` names what was to be found out (see `sim.explore.probes`), and with it the task.

    Raises:
        ShapeError: There are more or fewer measurements than actions.
        NonFiniteError: A number is NaN or infinite.
    """

    probe: str
    q_rad: F64  # (dof,) at the start
    gripper_m: F64  # (num_grippers,)
    poses: Mapping[str, F64]  # name -> (7,) at the start
    joints: Mapping[str, float]  # signals at the start
    actions: F32  # (steps, a) executed
    measured: F64  # (steps, m) after each
    std: F64  # (m,)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what comes from a file or another process."""
        if np.shape(self.measured) != (len(self.actions), len(self.std)):
            wanted = (len(self.actions), len(self.std))
            raise ShapeError("measurements of a trial", np.shape(self.measured), wanted)
        for name, array in (("measurements", self.measured), ("actions", self.actions)):
            if not np.isfinite(array).all():
                raise NonFiniteError(f"{name} of a trial", array, "Record it again.")

    @property
    def hash(self) -> str:
        """12 hex digits of what was done and measured."""
        return config_hash({"probe": self.probe, **self._arrays()})

    def save(self, path: Path) -> str:
        """Write it as .npz without pickles, whole or not at all; returns its hash.

        Raises:
            DataError: The file cannot be written.
        """
        head = {"probe": self.probe, "joints": dict(self.joints), "facts": dict(self.facts)}
        return save_sealed(path, self, head, self._arrays(), version=FORMAT)

    def _arrays(self) -> dict[str, np.ndarray]:
        poses = {f"pose.{name}": pose for name, pose in self.poses.items()}
        names = ("q_rad", "gripper_m", "actions", "measured", "std")
        return {**{name: np.asarray(getattr(self, name)) for name in names}, **poses}


def load_trial(path: Path) -> Trial:
    """Read what `Trial.save` wrote.

    Raises:
        DataError: The file is missing, damaged, edited, or of another format.
    """
    return load_sealed(path, "trial", _from_file, version=FORMAT)


def _from_file(head: dict[str, Any], arrays: dict[str, np.ndarray]) -> Trial:
    poses = {n.removeprefix("pose."): a for n, a in arrays.items() if n.startswith("pose.")}
    rest = {name: array for name, array in arrays.items() if not name.startswith("pose.")}
    joints, facts = head["joints"], head["facts"]
    return Trial(probe=head["probe"], poses=poses, joints=joints, facts=facts, **rest)


def execute(
    env: RobotEnv,
    probe: str,
    actions: F32,
    channels: Sequence[Channel],
    *,
    read: Callable[[], RobotState],
    facts: Mapping[str, Any] | None = None,
) -> Trial:
    """Play actions (steps, a) on an environment that was reset, and measure.

    The environment limits them as it does a policy's; what it says it executed is what is kept.

    Args:
        env: Twin or robot, at the start of an episode.
        probe: Name of what is to be found out.
        actions: What to do.
        channels: What to measure.
        read: The state as sensors give it, such as `env.port.read`.
        facts: What else to keep.
    """
    state = read()
    executed, measured = [], []
    for action in actions:
        *_, terminated, truncated, info = env.step(action)
        executed.append(info["executed_action"])
        measured.append(measure(channels, read()))
        if terminated or truncated:
            break
    return Trial(
        probe=probe,
        q_rad=state.q_rad,
        gripper_m=state.gripper_m,
        poses=dict(state.poses),
        joints={name: float(value[0]) for name, value in state.signals.items()},
        actions=np.array(executed, np.float32),
        measured=np.array(measured),
        std=noise(channels, len(state.q_rad)),
        facts=facts or {},
    )


def start_of(trial: Trial) -> Start:
    """The start of a trial in a twin; what nobody measured is nominal."""
    return Start(
        q_rad=trial.q_rad, gripper_m=trial.gripper_m, poses=trial.poses, joints=trial.joints
    )


def fit_trials(
    rehearsal: Rehearsal,
    trials: Sequence[Trial],
    cfg: LeastSquaresCfg = FIT,
    *,
    seed: int = 0,
) -> Posterior:
    """The posterior of the parameters after some trials.

    Raises:
        DataError: There is none, or one does not fit the twins.
    """
    if not trials:
        raise DataError("there is no trial to fit. Give at least one file.")
    for trial in trials:
        if trial.measured.shape[-1] != len(rehearsal.std):
            raise DataError(
                f"a trial of '{trial.probe}' measures {trial.measured.shape[-1]} numbers, but the "
                f"twins give {len(rehearsal.std)}. Fit it with the probe it was made for."
            )

    def residuals(coordinates: F64) -> F64:
        values = rehearsal.parameters.to_values(coordinates)
        rows = []
        for trial in trials:
            every = np.broadcast_to(trial.actions, (len(values), *trial.actions.shape))
            track = rehearsal.roll(start_of(trial), every, values)
            rows.append(((track - trial.measured) / trial.std).reshape(len(values), -1))
        return np.concatenate(rows, 1)

    posterior, _ = fit_residuals(rehearsal.parameters, residuals, cfg, seed=seed)
    return posterior.with_details(trials=[trial.hash for trial in trials])
