"""What can be identified, and where each quantity lives in a model: one table, three targets.

motion → measurement → **parameters** → fit → posterior → twins drawn from it

A quantity writes into arrays with any leading dimensions, so that one `MjModel`, the rows of a
`mujoco.batch.Batch` and an `MjSpec` cannot come out differently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl.types import F64

__all__ = ["QUANTITIES", "ModelArrays", "Quantity", "Scale", "copy_to_spec", "prepare_spec"]

Scale = Literal["log", "linear"]
Place = Literal["joint", "actuator", "body"]

_CUBIC = 2  # mjSpec's code of the interpolation that makes a delay differentiable


class ModelArrays:
    """The fields of one model, or of every simulation of a batch, with names for places.

    Args:
        model: The compiled model that the names are looked up in.
        field: Gives the array of a field: (..., n) or (..., n, columns).
    """

    def __init__(self, model: mujoco.MjModel, field: Callable[[str], F64]) -> None:
        self._model, self._field = model, field

    def id(self, place: Place, name: str) -> int:
        """The index of a joint's degree of freedom, an actuator or a body.

        Raises:
            UnknownNameError: The model has no such name.
        """
        kind = {
            "joint": mujoco.mjtObj.mjOBJ_JOINT,
            "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
            "body": mujoco.mjtObj.mjOBJ_BODY,
        }[place]
        found = mujoco.mj_name2id(self._model, kind.value, name)
        if found < 0:
            raise UnknownNameError(f"{place} of the model", name, _names(self._model, place))
        return int(self._model.jnt_dofadr[found]) if place == "joint" else found

    def geoms(self, body: int) -> list[int]:
        """The geoms of a body that touch anything."""
        touching = (self._model.geom_contype != 0) | (self._model.geom_conaffinity != 0)
        return np.flatnonzero((self._model.geom_bodyid == body) & touching).tolist()

    def slides(self, actuator: int) -> list[int]:
        """The degrees of freedom that an actuator's tendon moves."""
        model, tendon = self._model, int(self._model.actuator_trnid[actuator, 0])
        first = int(model.tendon_adr[tendon])
        joints = model.wrap_objid[first : first + int(model.tendon_num[tendon])]
        return [int(model.jnt_dofadr[joint]) for joint in joints]

    def get(self, field: str, row: int, column: int | None = None) -> F64:
        """A copy of one element, with the leading dimensions of the field."""
        values = self._field(field)
        return (values[..., row] if column is None else values[..., row, column]).copy()

    def set(self, field: str, row: int, value: F64, column: int | None = None) -> None:
        """Write one element, for one model or all simulations."""
        values = self._field(field)
        if column is None:
            values[..., row] = value
        else:
            values[..., row, column] = value


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One kind of parameter."""

    unit: str
    scale: Scale
    place: Place
    fields: tuple[str, ...]
    """What it writes."""
    write: Callable[[ModelArrays, int, F64], None]
    read: Callable[[ModelArrays, int], F64]
    decimals: int = 3
    """Significant digits in print."""


def _field(field: str, column: int | None = None) -> dict[str, Callable[..., object]]:
    """Reading and writing one element of one field."""
    return {
        "write": lambda arrays, row, value: arrays.set(field, row, value, column),
        "read": lambda arrays, row: arrays.get(field, row, column),
    }


def _write_kp(arrays: ModelArrays, row: int, value: F64) -> None:
    arrays.set("actuator_gainprm", row, value, 0)
    arrays.set("actuator_biasprm", row, -value, 1)


def _write_bias(arrays: ModelArrays, row: int, value: F64) -> None:
    """The drive closes its loop on the encoder, which reads the joint's angle plus the bias."""
    arrays.set("actuator_biasprm", row, -arrays.get("actuator_gainprm", row, 0) * value, 0)


def _read_bias(arrays: ModelArrays, row: int) -> F64:
    return -arrays.get("actuator_biasprm", row, 0) / arrays.get("actuator_gainprm", row, 0)


def _write_force(arrays: ModelArrays, row: int, value: F64) -> None:
    arrays.set("actuator_forcerange", row, -value, 0)
    arrays.set("actuator_forcerange", row, value, 1)


def _write_speed(arrays: ModelArrays, row: int, value: F64) -> None:
    """Full force against the damping of both fingers gives the top speed of their distance."""
    slides = arrays.slides(row)
    for slide in slides:
        force = arrays.get("actuator_forcerange", row, 1)
        arrays.set("dof_damping", slide, len(slides) * force / value)


def _read_speed(arrays: ModelArrays, row: int) -> F64:
    slides = arrays.slides(row)
    force = arrays.get("actuator_forcerange", row, 1)
    return len(slides) * force / arrays.get("dof_damping", slides[0])


def _write_mass(arrays: ModelArrays, row: int, value: F64) -> None:
    """The inertia grows with the mass: more of the same stuff."""
    ratio = value / arrays.get("body_mass", row)
    arrays.set("body_mass", row, value)
    for axis in range(3):
        arrays.set("body_inertia", row, ratio * arrays.get("body_inertia", row, axis), axis)


def _write_friction(arrays: ModelArrays, row: int, value: F64) -> None:
    """All geoms of the body keep their proportion: a pad stays better than its finger."""
    ratio = value / _read_friction(arrays, row)
    for geom in arrays.geoms(row):
        arrays.set("geom_friction", geom, ratio * arrays.get("geom_friction", geom, 0), 0)


def _read_friction(arrays: ModelArrays, row: int) -> F64:
    """That of the body's best geom."""
    geoms = arrays.geoms(row)
    if not geoms:
        raise ConfigError("a body without geoms that touch has no friction. Name another body.")
    return np.max([arrays.get("geom_friction", geom, 0) for geom in geoms], 0)


def _quantity(unit: str, scale: Scale, place: Place, fields: str, **parts: object) -> Quantity:
    return Quantity(unit=unit, scale=scale, place=place, fields=tuple(fields.split()), **parts)  # type: ignore[arg-type]


_GAINS = "actuator_gainprm actuator_biasprm"
QUANTITIES: Mapping[str, Quantity] = {
    "armature": _quantity("kg m²", "log", "joint", "dof_armature", **_field("dof_armature")),
    "damping": _quantity("Nm s/rad", "log", "joint", "dof_damping", **_field("dof_damping")),
    "frictionloss": _quantity(
        "Nm", "log", "joint", "dof_frictionloss", **_field("dof_frictionloss")
    ),
    "kp": _quantity(
        "Nm/rad",
        "log",
        "actuator",
        _GAINS,
        write=_write_kp,
        read=lambda arrays, row: arrays.get("actuator_gainprm", row, 0),
    ),
    "kv": _quantity(
        "Nm s/rad",
        "log",
        "actuator",
        "actuator_biasprm",
        write=lambda arrays, row, value: arrays.set("actuator_biasprm", row, -value, 2),
        read=lambda arrays, row: -arrays.get("actuator_biasprm", row, 2),
    ),
    "encoder_bias": _quantity(
        "rad", "linear", "actuator", _GAINS, write=_write_bias, read=_read_bias
    ),
    "delay": _quantity("s", "linear", "actuator", "actuator_delay", **_field("actuator_delay")),
    "force": _quantity(
        "N",
        "log",
        "actuator",
        "actuator_forcerange",
        write=_write_force,
        read=lambda arrays, row: arrays.get("actuator_forcerange", row, 1),
    ),
    "speed": _quantity(
        "m/s",
        "log",
        "actuator",
        "dof_damping actuator_forcerange",
        write=_write_speed,
        read=_read_speed,
    ),
    "mass": _quantity(
        "kg",
        "log",
        "body",
        "body_mass body_inertia",
        write=_write_mass,
        read=lambda arrays, row: arrays.get("body_mass", row),
    ),
    "com_x": _quantity("m", "linear", "body", "body_ipos", **_field("body_ipos", 0)),
    "com_y": _quantity("m", "linear", "body", "body_ipos", **_field("body_ipos", 1)),
    "com_z": _quantity("m", "linear", "body", "body_ipos", **_field("body_ipos", 2)),
    "friction": _quantity(
        "", "log", "body", "geom_friction", write=_write_friction, read=_read_friction
    ),
}
"""In the order in which they are written: gains before the bias that they multiply, force before
the speed that it makes. Of a joint or drive: armature, damping, frictionloss (also of a drawer's
slide), kp, kv, encoder_bias, delay (of the command). Of a gripper's drive: force, and speed of
the fingers' distance under full force. Of a body: mass, com_* in its own frame, friction of its
geoms (the pads are those of the fingers' bodies)."""

CONSTANT_FIELDS = frozenset({"dof_armature", "body_mass", "body_inertia", "body_ipos"})
"""Fields from which MuJoCo derives constants: writing them asks for `mj_setConst`."""


def prepare_spec(
    spec: mujoco.MjSpec, quantity: str, targets: tuple[str, ...], high: float
) -> None:
    """Give a scene, before it is compiled, what a quantity needs to be varied afterwards.

    A delay needs a history of commands; a centre of mass must not be optimised away.

    Raises:
        UnknownNameError: The scene lacks a target.
    """
    if quantity == "delay":
        samples = int(np.ceil(high / spec.option.timestep)) + 2
        for target in targets:
            drive = _element(spec, "actuator", target)
            drive.nsample, drive.interp = max(samples, int(drive.nsample)), _CUBIC
            drive.delay = max(float(drive.delay), spec.option.timestep)
    elif quantity.startswith("com_"):
        for target in targets:
            _element(spec, "body", target).simple = 0


def copy_to_spec(
    model: mujoco.MjModel, spec: mujoco.MjSpec, quantity: str, targets: tuple[str, ...]
) -> None:
    """Copy what a quantity has written into a compiled model back to the scene it came from."""
    place, fields = QUANTITIES[quantity].place, QUANTITIES[quantity].fields
    for target in targets:
        element = _element(spec, place, target)
        if place == "joint":
            _copy_joint(element, model, int(model.joint(target).dofadr[0]))
        elif place == "actuator":
            _copy_actuator(element, model, model.actuator(target).id)
            if quantity == "speed":
                slides = ModelArrays(model, lambda _: np.zeros(0)).slides(element.id)
                for slide in slides:
                    joint = model.joint(int(model.dof_jntid[slide])).name
                    _copy_joint(_element(spec, "joint", joint), model, slide)
        elif "geom_friction" in fields:
            for geom in element.geoms:
                geom.friction[0] = model.geom_friction[geom.id, 0]
        else:
            _copy_body(element, model, model.body(target).id)


def _copy_joint(joint: mujoco.MjsJoint, model: mujoco.MjModel, dof: int) -> None:
    joint.armature = model.dof_armature[dof]
    joint.damping[0] = model.dof_damping[dof]
    joint.frictionloss = model.dof_frictionloss[dof]


def _copy_actuator(drive: mujoco.MjsActuator, model: mujoco.MjModel, row: int) -> None:
    drive.gainprm[0] = model.actuator_gainprm[row, 0]
    drive.biasprm[:3] = model.actuator_biasprm[row, :3]
    drive.forcerange = model.actuator_forcerange[row]
    drive.delay = model.actuator_delay[row]


def _copy_body(body: mujoco.MjsBody, model: mujoco.MjModel, row: int) -> None:
    body.explicitinertial = True
    body.mass, body.ipos = model.body_mass[row], model.body_ipos[row]
    body.inertia, body.iquat = model.body_inertia[row], model.body_iquat[row]
    body.fullinertia[:] = np.nan


def _element(spec: mujoco.MjSpec, place: Place, name: str) -> Any:
    """The element of a scene that has a name."""
    find = {"joint": spec.joint, "actuator": spec.actuator, "body": spec.body}[place]
    element = find(name)
    if element is None:
        names = {"joint": spec.joints, "actuator": spec.actuators, "body": spec.bodies}[place]
        raise UnknownNameError(f"{place} of the scene", name, [e.name for e in names])
    return element


def _names(model: mujoco.MjModel, place: Place) -> list[str]:
    count = {"joint": model.njnt, "actuator": model.nu, "body": model.nbody}[place]
    get = {"joint": model.joint, "actuator": model.actuator, "body": model.body}[place]
    return [get(i).name for i in range(count)]
