"""Parameters of a twin with names, bounds and priors, and their way into models and batches.

motion → measurement → **parameters** → fit → posterior → twins drawn from it

Fits and distributions live in *coordinates*: the logarithm of what must stay positive, and the
value itself of the rest. Everything that enters a model is a *value*, in SI units.

    parameters = ParameterSet((of_body(model, "rod", "com_x", low=-0.1, high=0.1), ...))
    parameters.prepare(spec)                       # before compiling
    parameters.apply(model, values)                # one model
    parameters.writer(model, batch).write(table)   # (nsim, p): every simulation its own
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError, UnknownNameError
from robot_rl.types import F64, I64
from sim.identify.quantities import (
    CONSTANT_FIELDS,
    QUANTITIES,
    ModelArrays,
    Scale,
    copy_to_spec,
    prepare_spec,
)

__all__ = ["BatchWriter", "Parameter", "ParameterSet", "nominal_parameter"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One unknown number of the twin."""

    name: str
    """Unique in its set, such as "arm_joint3.armature"."""
    quantity: str
    """One of `QUANTITIES`; says which model fields it writes."""
    targets: tuple[str, ...]
    """Joints, actuators or bodies that share the value."""
    nominal: float
    """What is believed before measuring; centre of the prior."""
    low: float
    """Least value that is physically possible."""
    high: float
    """Greatest value that is physically possible."""
    prior_std: float | None = None
    """Deviation of the prior in coordinates: relative for log (0.7 is about a factor of two),
    in units for linear (default: half the range in coordinates, which says next to nothing)."""

    def __post_init__(self) -> None:
        """Refuse an unknown quantity, crossed bounds, a nominal outside, and logs of nothing."""
        if self.quantity not in QUANTITIES:
            raise UnknownNameError("quantity", self.quantity, QUANTITIES)
        if not self.targets:
            raise ConfigError(f"{self.name}: targets is empty. Name what it belongs to.")
        if not self.low < self.high or not self.low <= self.nominal <= self.high:
            raise ConfigError(
                f"{self.name}: nominal is {self.nominal}, bounds are [{self.low}, {self.high}], "
                "but must be low <= nominal <= high and low < high."
            )
        if self.scale == "log" and not self.low > 0:
            raise ConfigError(f"{self.name}: low is {self.low}, but must be > 0 for a logarithm.")
        if self.prior_std is not None and not self.prior_std > 0:
            raise ConfigError(f"{self.name}: prior_std is {self.prior_std}, but must be > 0.")

    @property
    def scale(self) -> Scale:
        """Whether its coordinate is the logarithm."""
        return QUANTITIES[self.quantity].scale

    @property
    def unit(self) -> str:
        """SI unit of the value; empty if it has none."""
        return QUANTITIES[self.quantity].unit


def nominal_parameter(
    model: mujoco.MjModel,
    quantity: str,
    targets: str | Sequence[str],
    *,
    name: str = "",
    factor: float = 4.0,
    low: float | None = None,
    high: float | None = None,
    prior_std: float | None = None,
) -> Parameter:
    """A parameter whose nominal is what a compiled model says.

    Args:
        model: The nominal twin.
        quantity: One of `QUANTITIES`.
        targets: A name, or the names that share one value; the first gives the nominal.
        name: Of the parameter (default: "<first target>.<quantity>").
        factor: Bounds are this far below and above the nominal where none are given.
        low: Lower bound; a quantity on a linear scale needs one.
        high: Upper bound, likewise.
        prior_std: As in `Parameter`.

    Raises:
        UnknownNameError: The model lacks a target, or there is no such quantity.
        ConfigError: The nominal is outside the bounds, or there are none.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if quantity not in QUANTITIES:
        raise UnknownNameError("quantity", quantity, QUANTITIES)
    about, arrays = QUANTITIES[quantity], ModelArrays(model, lambda f: getattr(model, f))
    rows = [arrays.id(about.place, target) for target in names]
    value = float(about.read(arrays, rows[0]))
    name = name or f"{names[0]}.{quantity}"
    if about.scale == "linear" and (low is None or high is None):
        raise ConfigError(f"{name} is on a linear scale and needs both low and high.")
    return Parameter(
        name=name,
        quantity=quantity,
        targets=names,
        nominal=value,
        low=value / factor if low is None else low,
        high=value * factor if high is None else high,
        prior_std=prior_std,
    )


class ParameterSet:
    """Parameters in a fixed order; vectors and tables follow it along their last dimension.

    Raises:
        ConfigError: Two parameters have one name, or there is none.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        names = [parameter.name for parameter in self.parameters]
        double = sorted({name for name in names if names.count(name) > 1})
        if double or not names:
            raise ConfigError(
                f"parameters need different names, but {', '.join(double)} is there twice."
                if double
                else "a set of parameters must hold at least one."
            )

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    def index(self, name: str) -> int:
        """The place of a name.

        Raises:
            UnknownNameError: There is no such parameter.
        """
        if name not in self.names:
            raise UnknownNameError("parameter", name, self.names)
        return self.names.index(name)

    @cached_property
    def nominal(self) -> F64:
        """(p,) values before measuring."""
        return np.array([parameter.nominal for parameter in self.parameters])

    @cached_property
    def low(self) -> F64:
        """(p,) lower bounds, in coordinates."""
        return self.to_coordinates(np.array([parameter.low for parameter in self.parameters]))

    @cached_property
    def high(self) -> F64:
        """(p,) upper bounds, in coordinates."""
        return self.to_coordinates(np.array([parameter.high for parameter in self.parameters]))

    @cached_property
    def prior_mean(self) -> F64:
        """(p,) in coordinates."""
        return self.to_coordinates(self.nominal)

    @cached_property
    def prior_std(self) -> F64:
        """(p,) in coordinates."""
        given = [parameter.prior_std for parameter in self.parameters]
        half = 0.5 * (self.high - self.low)
        return np.array([h if std is None else std for std, h in zip(given, half, strict=True)])

    @cached_property
    def _is_log(self) -> F64:
        return np.array([parameter.scale == "log" for parameter in self.parameters])

    def to_coordinates(self, values: F64) -> F64:
        """Values (..., p) [SI] as coordinates.

        Raises:
            ShapeError: There are more or fewer than parameters.
            NonFiniteError: A value has no coordinate.
        """
        values = self._checked("values", values)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(self._is_log, np.log(values), values)
        if not np.isfinite(found).all():
            raise NonFiniteError("parameter values", values, "Values on a log scale must be > 0.")
        return found

    def to_values(self, coordinates: F64) -> F64:
        """Coordinates (..., p) as values [SI]."""
        coordinates = self._checked("coordinates", coordinates)
        return np.where(
            self._is_log, np.exp(np.where(self._is_log, coordinates, 0.0)), coordinates
        )

    def clip(self, coordinates: F64) -> F64:
        """Coordinates (..., p) within the bounds."""
        return np.clip(self._checked("coordinates", coordinates), self.low, self.high)

    def sample_prior(self, n: int, rng: np.random.Generator) -> F64:
        """(n, p) values, uniform between the bounds in coordinates: uniform randomisation."""
        return self.to_values(rng.uniform(self.low, self.high, (n, len(self))))

    def as_dict(self, values: F64) -> dict[str, float]:
        """Names and values of one vector (p,)."""
        return dict(zip(self.names, self._checked("values", values).tolist(), strict=True))

    def from_dict(self, values: Mapping[str, float]) -> F64:
        """(p,) values by name; what is not named is nominal.

        Raises:
            UnknownNameError: A name is of another set.
        """
        found = self.nominal.copy()
        for name, value in values.items():
            found[self.index(name)] = value
        return found

    def subset(self, names: Sequence[str]) -> "ParameterSet":
        """Some of them, in the order given."""
        return ParameterSet([self.parameters[self.index(name)] for name in names])

    def with_nominal(self, values: F64) -> "ParameterSet":
        """The same with other nominals (p,), such as the mean of a posterior."""
        values = self._checked("values", values)
        pairs = zip(self.parameters, values.tolist(), strict=True)
        return ParameterSet([replace(one, nominal=value) for one, value in pairs])

    def prepare(self, spec: mujoco.MjSpec) -> None:
        """Make a scene ready, before it is compiled, to have these parameters varied."""
        for one in self.parameters:
            prepare_spec(spec, one.quantity, one.targets, one.high)

    def apply(self, model: mujoco.MjModel, values: F64) -> None:
        """Write values (p,) into a compiled model, with the constants that follow from them.

        Raises:
            UnknownNameError: The model lacks a target.
            ConfigError: A delay is asked of a model that was not prepared.
        """
        self._refuse_unprepared(model)
        self._write(ModelArrays(model, lambda f: getattr(model, f)), values)
        if self._needs_constants:
            mujoco.mj_setConst(model, mujoco.MjData(model))

    def apply_to_spec(self, spec: mujoco.MjSpec, values: F64) -> None:
        """Write values (p,) into a scene, prepared for them too."""
        self.prepare(spec)
        model = spec.compile()
        self.apply(model, values)
        for one in self.parameters:
            copy_to_spec(model, spec, one.quantity, one.targets)

    def writer(self, model: mujoco.MjModel, batch: Batch) -> "BatchWriter":
        """What gives every simulation of a batch of `model` its own values."""
        self._refuse_unprepared(model)
        return BatchWriter(self, model, batch)

    def encoder_bias(self, values: F64, joints: Sequence[str]) -> F64:
        """(..., n) [rad] to be added to the angles of some joints to give what encoders read."""
        values = self._checked("values", values)
        bias = np.zeros((*values.shape[:-1], len(joints)))
        for i, one in enumerate(self.parameters):
            if one.quantity == "encoder_bias":
                for target in one.targets:
                    if target in joints:
                        bias[..., list(joints).index(target)] = values[..., i]
        return bias

    def to_plain(self) -> list[dict[str, Any]]:
        """As JSON knows it."""
        return [
            {
                "name": one.name,
                "quantity": one.quantity,
                "targets": list(one.targets),
                "nominal": one.nominal,
                "low": one.low,
                "high": one.high,
                "prior_std": one.prior_std,
            }
            for one in self.parameters
        ]

    @property
    def _needs_constants(self) -> bool:
        return any(CONSTANT_FIELDS & set(QUANTITIES[p.quantity].fields) for p in self.parameters)

    def _write(self, arrays: ModelArrays, values: F64) -> None:
        values = self._checked("values", values)
        order = list(QUANTITIES)
        for i in sorted(range(len(self)), key=lambda i: order.index(self.parameters[i].quantity)):
            one = self.parameters[i]
            about = QUANTITIES[one.quantity]
            for target in one.targets:
                about.write(arrays, arrays.id(about.place, target), values[..., i])

    def _refuse_unprepared(self, model: mujoco.MjModel) -> None:
        for one in self.parameters:
            if one.quantity == "delay":
                for target in one.targets:
                    row = ModelArrays(model, lambda f: getattr(model, f)).id("actuator", target)
                    if not int(model.actuator_history[row, 0]):
                        raise ConfigError(
                            f"{one.name}: actuator '{target}' keeps no history of commands, so it "
                            "cannot be delayed. Call prepare(spec) before compiling."
                        )

    def _checked(self, name: str, vector: F64) -> F64:
        vector = np.asarray(vector, np.float64)
        if vector.shape[-1:] != (len(self),):
            raise ShapeError(name, vector.shape, (len(self),))
        return vector


class BatchWriter:
    """Writes tables of values into the simulations of one batch."""

    def __init__(self, parameters: ParameterSet, model: mujoco.MjModel, batch: Batch) -> None:
        self._parameters, self._batch = parameters, batch
        used = {f for one in parameters.parameters for f in QUANTITIES[one.quantity].fields}
        self._fields = {field: batch.expand(field) for field in sorted(used)}
        self._model = model

    def write(self, values: F64, ids: I64 | None = None) -> None:
        """Give simulations their values.

        Args:
            values: (n, p) [SI], a row a simulation.
            ids: Which simulations (default: all).

        Raises:
            ShapeError: There are more or fewer rows than simulations.
        """
        rows = np.arange(self._batch.nsim) if ids is None else np.asarray(ids, np.int64)
        values = np.asarray(values, np.float64)
        if values.shape != (len(rows), len(self._parameters)):
            shape = (len(rows), len(self._parameters))
            raise ShapeError("table of parameter values", values.shape, shape)
        copies = {field: array[rows] for field, array in self._fields.items()}
        self._parameters._write(ModelArrays(self._model, copies.__getitem__), values)
        for field, array in self._fields.items():
            array[rows] = copies[field]
        if self._parameters._needs_constants:
            self._batch.set_const(ids=np.sort(rows))
