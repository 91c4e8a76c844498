"""Robots whose parameters nobody here knows: twins in another process that only serve motions.

**motion → measurement** → parameters → fit → posterior → twins drawn from it

    with HiddenRobot(kind="A", seed=3) as robot:
        robot.move(motion, Path("fit.npz"))        # a measurement file, with noise
        truth = robot.reveal()                     # ends the serving

Kind "A" is well specified: the twin with other armature, damping, friction and delay. Kind "B" is
not: another integrator and step, other masses, imperfect gravity compensation, other gains, and
damping that grows with speed. After `reveal` no more measurements come, so that what was fitted
cannot have seen the truth.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import mujoco
import numpy as np

from robot_rl.control.franka import franka_like_spec
from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.types import F64, RobotSpec
from sim.hidden import HiddenProcess, serve
from sim.identify.arm import arm_parameters, arm_scene
from sim.identify.measurement import Measurement, load_measurement
from sim.identify.motion import Motion
from sim.identify.parameters import ParameterSet
from sim.identify.play import SOFT_SHARE, play_motion

__all__ = ["HiddenKind", "HiddenRobot", "nominal_arm"]

HiddenKind = Literal["A", "B"]

_SPREAD = 2.5  # armature, damping and friction lie within this factor of the nominal
_DELAY_S = (0.005, 0.030)
_MISMATCH = {"mass": 0.05, "gravity": 0.015, "gain": 0.05, "quadratic": 0.5}
_FINE_STEP_S = 0.001
_SALT = 0x51D  # so that no fit that draws from a small seed draws these numbers


def nominal_arm(share: float = SOFT_SHARE) -> tuple[mujoco.MjSpec, RobotSpec]:
    """What the fitter believes: the twin's arm above a table, its drives softened."""
    robot = franka_like_spec()
    return arm_scene(robot, share), robot


class HiddenRobot(HiddenProcess):
    """The other end of a hidden twin.

    Args:
        kind: Well specified or not.
        seed: Draws its parameters, in its own process.
        share: Of the drives' gains, which are known.

    Raises:
        UnknownNameError: There is no such kind.
    """

    def __init__(self, kind: HiddenKind, seed: int, *, share: float = SOFT_SHARE) -> None:
        if kind not in get_args(HiddenKind):
            raise UnknownNameError("kind of hidden robot", kind, get_args(HiddenKind))
        self.kind, self.seed = kind, seed
        words = (kind, str(seed), str(share))
        super().__init__(f"the hidden robot {kind}{seed}", "sim.identify.hidden", *words)

    def move(self, motion: Motion, path: Path, *, noise_seed: int = 0) -> Measurement:
        """Do a motion, and read the file that was measured.

        Raises:
            PortError: It refuses, or has gone.
        """
        self._ask(
            {"do": "move", "motion": motion.to_plain(), "noise": noise_seed, "to": str(path)}
        )
        return load_measurement(path)

    def reveal(self, motions: tuple[Motion, ...] = ()) -> dict[str, Any]:
        """The truth: `values` by parameter name, and the `states` of motions without noise.

        Raises:
            PortError: It has gone.
        """
        return self._ask({"do": "reveal", "motions": [motion.to_plain() for motion in motions]})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Hidden:
    """The robot itself, with what only this process knows."""

    name: str
    model: mujoco.MjModel
    robot: RobotSpec
    parameters: ParameterSet
    values: F64

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one line asks."""
        if request["do"] == "move":
            motion = Motion.from_plain(request["motion"])
            measured = self._play(motion, int(request["noise"]))
            return {"hash": measured.save(Path(request["to"]))}
        if request["do"] == "reveal":
            quiet = [self._play(Motion.from_plain(one), None) for one in request["motions"]]
            return {
                "values": self.parameters.as_dict(self.values),
                "states": [one.position.tolist() for one in quiet],
            }
        raise ConfigError(f"do is '{request['do']}', but must be move or reveal.")

    def _play(self, motion: Motion, seed: int | None) -> Measurement:
        if motion.joints != self.robot.arms[0].joint_names:
            raise DataError(f"the motion is of the joints {', '.join(motion.joints)}.")
        return play_motion(self.model, self.robot, motion, seed=seed, source=self.name)


def _draw(kind: HiddenKind, seed: int, share: float) -> _Hidden:
    """The hidden robot of a seed."""
    rng = np.random.default_rng([_SALT, get_args(HiddenKind).index(kind), seed])
    spec, robot = nominal_arm(share)
    parameters = arm_parameters(spec.copy().compile(), robot.arms)
    factor = np.exp(rng.uniform(-1, 1, len(parameters)) * np.log(_SPREAD))
    values = parameters.nominal * factor
    values[parameters.index("delay")] = rng.uniform(*_DELAY_S)
    if kind == "B":
        _spoil(spec, robot, rng)
        spec.option.timestep = _FINE_STEP_S
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICIT
    parameters.prepare(spec)
    model = spec.compile()
    parameters.apply(model, values)
    if kind == "B":
        _add_quadratic_damping(model, robot, rng)
    name = f"hidden robot {kind}{seed}"
    return _Hidden(name=name, model=model, robot=robot, parameters=parameters, values=values)


def _spoil(spec: mujoco.MjSpec, robot: RobotSpec, rng: np.random.Generator) -> None:
    """Masses, gravity compensation and gains that the nominal twin has wrong."""
    for body in spec.bodies:
        if body.explicitinertial and not body.mocap:
            ratio = 1 + rng.uniform(-1, 1) * _MISMATCH["mass"]
            body.mass *= ratio
            body.fullinertia = np.array(body.fullinertia) * ratio
            body.gravcomp = 1 + rng.uniform(-1, 1) * _MISMATCH["gravity"]
    for joint in robot.arms[0].joint_names:
        drive = spec.actuator(joint)
        stiff, damp = 1 + rng.uniform(-1, 1, 2) * _MISMATCH["gain"]
        drive.gainprm[0] *= stiff
        drive.biasprm[1] *= stiff
        drive.biasprm[2] *= damp


def _add_quadratic_damping(
    model: mujoco.MjModel, robot: RobotSpec, rng: np.random.Generator
) -> None:
    """Damping that grows with speed, up to half again at 1 rad/s."""
    for joint in robot.arms[0].joint_names:
        dof = int(model.joint(joint).dofadr[0])
        more = rng.uniform(0, _MISMATCH["quadratic"])
        model.dof_dampingpoly[dof, 0] = more * model.dof_damping[dof]


def main(arguments: list[str] | None = None) -> int:
    """Serve one hidden robot on standard input and output, one JSON object a line."""
    kind, seed, share = sys.argv[1:] if arguments is None else arguments
    hidden = _draw(kind, int(seed), float(share))  # type: ignore[arg-type]
    serve(hidden.answer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
