"""The same fit by MuJoCo's own toolbox, `mujoco.sysid`: what a second solver says.

motion → measurement → parameters → **fit** → posterior → twins drawn from it

It gets our stamps, weights and coordinates, and finds its own way. Its rollouts stamp sensors a
step late, so states are compared; its usual division by the norm of each signal is left out, since
with it the fit stalls.
"""

import contextlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import mujoco
import numpy as np

from robot_rl.errors import ConfigError, MissingExtraError
from robot_rl.types import F64
from sim.identify.measurement import Measurement
from sim.identify.parameters import ParameterSet
from sim.identify.posterior import Posterior
from sim.identify.replay import MotionReplay, Plan

__all__ = ["ToolboxFit", "largest_disagreement", "toolbox_fit"]


_TOLERANCE = 1e-4  # of the coordinates


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolboxFit:
    """What the toolbox found."""

    coordinates: F64  # (p,)
    std: F64  # (p,) as it estimates them, without a prior
    chi2: float
    evaluations: int
    cpu_s: float


def toolbox_fit(
    spec: mujoco.MjSpec,
    parameters: ParameterSet,
    measurements: Sequence[Measurement],
    *,
    iterations: int = 8,
) -> ToolboxFit:
    """Fit measurements with `mujoco.sysid`, from the nominal.

    It compiles the scene anew for every column, so `iterations` are few; Gauss-Newton needs no
    more where it converges at all.

    Raises:
        MissingExtraError: The toolbox is not installed.
        ConfigError: An encoder's bias is to be found, which moves the start of its rollouts.
    """
    try:
        sysid = import_module("mujoco.sysid")
        optimize = sysid.optimize  # without its extra the package is there, and empty
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("mujoco.sysid", "sysid", "The cross-check") from error
    if any(one.quantity == "encoder_bias" for one in parameters.parameters):
        raise ConfigError("mujoco.sysid starts all twins alike; leave encoder_bias out.")
    begun = time.process_time()
    replay = MotionReplay(spec, parameters, measurements)
    unknown = sysid.Parameter(
        "unknowns",
        parameters.clip(parameters.prior_mean),
        parameters.low,
        parameters.high,
        modifier=lambda scene, one: parameters.apply_to_spec(
            scene, parameters.to_values(parameters.clip(one.value))
        ),
    )
    known = sysid.ParameterDict({"unknowns": unknown})
    sequences = [_Sequence(spec, replay, plan) for plan in replay.plans]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells every iteration
        found, result = optimize(
            known,
            _joined([one.residuals(sysid) for one in sequences]),
            optimizer="mujoco",
            verbose=False,
            max_iters=iterations,
            xtol=_TOLERANCE,
            x_scale="jac",
        )
    x, J = found.as_vector(), np.asarray(result.jac)
    std = np.sqrt(np.diag(np.linalg.pinv(J.T @ J, hermitian=True)))
    r = replay.residuals(x[None])[0]
    return ToolboxFit(
        coordinates=x,
        std=std,
        chi2=float((r**2).sum() / (len(r) - len(x))),
        evaluations=sum(one.evaluations for one in sequences),
        cpu_s=time.process_time() - begun,
    )


def largest_disagreement(posterior: Posterior, other: ToolboxFit) -> tuple[str, float]:
    """The parameter on which both fits agree least, and by how many deviations."""
    gap = np.abs(posterior.mean - other.coordinates) / posterior.std
    worst = int(np.argmax(gap))
    return posterior.parameters.names[worst], float(gap[worst])


class _Sequence:
    """One measurement as the toolbox wants it."""

    def __init__(self, spec: mujoco.MjSpec, replay: MotionReplay, plan: Plan) -> None:
        self._spec, self._replay, self._plan = spec, replay, plan
        self._start = replay.start(plan)
        self.evaluations = 0

    def residuals(self, sysid: Any) -> Any:
        """The toolbox's residual function of this measurement alone."""
        model, plan, measured = self._replay.model, self._plan, self._plan.measured
        times = model.opt.timestep * np.arange(len(plan.control))
        names = [model.actuator(i).name for i in range(model.nu)]
        control = sysid.TimeSeries.from_control_names(times, plan.control, model, names)
        nothing = sysid.TimeSeries(measured.state_s, np.zeros((len(measured.state_s), 0)), {})
        sequence = sysid.ModelSequences(
            "arm",
            self._spec,
            "motion",
            _full_state(model, self._start),
            control,
            nothing,
            allow_missing_sensors=True,
        )
        return sysid.build_residual_fn(
            models_sequences=[sequence],
            modify_residual=self._compare,
            resample_true=False,
            n_threads=1,
        )

    def _compare(
        self, params: Any, predicted: Any, measured: Any, *_: Any, state: F64, **__: Any
    ) -> tuple[F64, Any, Any]:
        """Differences over noise, from states after each step."""
        model, plan, start = self._replay.model, self._plan, self._start
        qpos = np.concatenate((start.qpos[None], state[:, 1 : 1 + model.nq]))
        qvel = np.concatenate((start.qvel[None], state[:, 1 + model.nq :][:, : model.nv]))
        found, true = self._replay.read(plan, qpos[None], qvel[None]), plan.measured
        gaps = [(found.position[0] - true.position)[plan.counts] / true.position_std]
        if true.velocity is not None and true.velocity_std is not None:
            gaps.append((found.velocity[0] - true.velocity)[plan.counts] / true.velocity_std)
        self.evaluations += 1
        return np.concatenate([gap.ravel() for gap in gaps]), measured, measured


def _joined(functions: list[Any]) -> Any:
    """Residuals of all sequences as one function."""

    def residuals(x: F64, params: Any, **settings: Any) -> tuple[list[F64], list[Any], list[Any]]:
        parts = [function(x, params, **settings) for function in functions]
        return tuple([item for part in parts for item in part[k]] for k in range(3))  # type: ignore[return-value]

    return residuals


def _full_state(model: mujoco.MjModel, data: mujoco.MjData) -> F64:
    """The vector that the toolbox starts from, with the history of commands."""
    spec = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
    state = np.empty(mujoco.mj_stateSize(model, spec))
    mujoco.mj_getState(model, data, state, spec)
    return state
