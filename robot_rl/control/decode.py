"""From an action in [-1, 1] to a joint command, and back from what was executed to an action.

command:   camera, arm → observe → policy (base + residual) → **decode** → safety → send

Deltas are integrated on the previous *command*, not on the measured state: gravity sag and lag
then never leak into the target. The maths takes any leading dimensions, for batched twins.
"""

from typing import NamedTuple, Protocol

import numpy as np

from robot_rl.control.kinematics import forward, solve_ik
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.geometry import matrix_from_rotvec, rotvec_from_matrix
from robot_rl.types import F32, F64, ArmSpec, Command, RobotSpec

__all__ = ["ActionDecoder", "ActionUnits", "Decoded"]


class ActionUnits(Protocol):
    """What an action of 1 means: the part of a `Task` that decoding reads."""

    @property
    def action_mode(self) -> str:
        """Either "ee_delta" or "joint_delta"."""
        ...

    @property
    def translation_step_m(self) -> float:
        """Translation of an action of 1."""
        ...

    @property
    def rotation_step_rad(self) -> float:
        """Rotation of an action of 1."""
        ...

    @property
    def joint_step_rad(self) -> float:
        """Joint motion of an action of 1."""
        ...

    @property
    def use_rotation(self) -> bool:
        """Whether an action turns the tool; else it keeps the orientation it has at home."""
        ...

    @property
    def use_gripper(self) -> bool:
        """Whether an action sets the gripper; else the gripper keeps its command."""
        ...


class Decoded(NamedTuple):
    """Joint targets of a batch of actions, and where they could not be had in full."""

    q_rad: F64  # (..., dof)
    gripper_m: F64  # (..., num_grippers)
    reached: np.ndarray  # (...,) bool: IK found the pose; else q_rad is the nearest found
    clipped: np.ndarray  # (...,) bool: the workspace box cut the motion


class _Part(NamedTuple):
    """One arm's share of the joint, gripper and action vectors."""

    arm: ArmSpec
    joints: slice
    motion: slice  # of the action: translation and rotation, or joints
    width: int | None  # of the action: gripper
    gripper: int  # index into the gripper vector; meaningless without a gripper
    R_home: F64  # (3, 3) tool orientation in base at home


class ActionDecoder:
    """Actions to commands for one robot and task; per arm: motion, then gripper if it has one.

    Motion is 3 translations and (by `use_rotation`) a rotation vector, both in the arm's base
    frame, or one delta a joint. The gripper dimension is a target width: -1 closed, 1 open.
    """

    def __init__(self, spec: RobotSpec, units: ActionUnits) -> None:
        self._units = units
        self._is_ee = units.action_mode == "ee_delta"
        self._parts, self.action_names = _lay_out(spec, units)
        self.action_dim = len(self.action_names)
        if self.action_dim == 0:
            raise ConfigError(f"robot '{spec.name}' has no arm, so no action. Add an ArmSpec.")
        step = np.full(3, units.translation_step_m)
        if units.use_rotation:
            step = np.concatenate([step, np.full(3, units.rotation_step_rad)])
        self._ee_step = step

    def decode(self, action: F32, command: Command) -> Command:
        """The command that `action` (action_dim,) asks for, integrated on the last `command`.

        Raises:
            ShapeError: The action is of another length.
            NonFiniteError: The action holds NaN or infinity.
        """
        done = self.decode_batch(action, command.q_rad, command.gripper_m)
        return Command(q_rad=done.q_rad, gripper_m=done.gripper_m, stamp_s=command.stamp_s)

    def encode(self, previous: Command, executed: Command) -> F32:
        """The action (action_dim,) in [-1, 1] that leads from one command to the next."""
        return self.encode_batch(
            previous.q_rad, previous.gripper_m, executed.q_rad, executed.gripper_m
        )

    def decode_batch(self, action: F32, q_rad: F64, gripper_m: F64) -> Decoded:
        """As `decode`, for actions (..., a) on commands (..., dof) and (..., num_grippers).

        Raises:
            ShapeError: The actions are of another length.
            NonFiniteError: An action holds NaN or infinity.
        """
        if np.shape(action)[-1:] != (self.action_dim,):
            received = np.shape(action)
            allowed = (*received[:-1], self.action_dim)
            raise ShapeError(f"action of {', '.join(self.action_names)}", received, allowed)
        if not np.isfinite(action).all():
            raise NonFiniteError("action", action, "Stop the policy that produced it.")
        bounded = np.minimum(np.maximum(np.asarray(action, np.float64), -1.0), 1.0)
        q = np.array(q_rad, np.float64)
        gripper = np.array(gripper_m, np.float64)
        reached = np.ones(bounded.shape[:-1], bool)
        clipped = np.zeros(bounded.shape[:-1], bool)
        for part in self._parts:
            motion, q_arm = bounded[..., part.motion], q[..., part.joints]
            if self._is_ee:
                target, cut = self._target(part, motion, q_arm)
                q[..., part.joints], ok = solve_ik(part.arm, target, q_arm)
                reached, clipped = reached & ok, clipped | cut
            else:
                wished = q_arm + motion * self._units.joint_step_rad
                lower, upper = part.arm.joint_lower_rad, part.arm.joint_upper_rad
                q[..., part.joints] = np.minimum(np.maximum(wished, lower), upper)
            if part.width is not None and part.arm.gripper is not None:
                share = 0.5 * (bounded[..., part.width] + 1.0)
                gripper[..., part.gripper] = share * part.arm.gripper.max_width_m
        return Decoded(q, gripper, reached, clipped)

    def encode_batch(self, q_from: F64, gripper_from: F64, q_to: F64, gripper_to: F64) -> F32:
        """As `encode`, for commands with leading dimensions: (..., a)."""
        out = np.empty((*q_to.shape[:-1], self.action_dim))
        for part in self._parts:
            before, after = q_from[..., part.joints], q_to[..., part.joints]
            if self._is_ee:
                T_before, T_after = forward(part.arm, before), forward(part.arm, after)
                delta = T_after[..., :3, 3] - T_before[..., :3, 3]
                if self._units.use_rotation:
                    turn = T_after[..., :3, :3] @ T_before[..., :3, :3].swapaxes(-1, -2)
                    delta = np.concatenate([delta, rotvec_from_matrix(turn)], axis=-1)
                out[..., part.motion] = delta / self._ee_step
            else:
                out[..., part.motion] = (after - before) / self._units.joint_step_rad
            if part.width is not None and part.arm.gripper is not None:
                share = gripper_to[..., part.gripper] / part.arm.gripper.max_width_m
                out[..., part.width] = 2.0 * share - 1.0
        return np.minimum(np.maximum(out, -1.0), 1.0).astype(np.float32)

    def _target(self, part: _Part, motion: F64, q_arm: F64) -> tuple[F64, np.ndarray]:
        """Tool pose (..., 4, 4) in base that a motion asks for, and whether the box cut it."""
        T = forward(part.arm, q_arm)
        step = motion * self._ee_step
        wished = T[..., :3, 3] + step[..., :3]
        # A tool that stands outside may come in at its own pace, but go no further out.
        lower = np.minimum(part.arm.workspace_lower_m, T[..., :3, 3])
        upper = np.maximum(part.arm.workspace_upper_m, T[..., :3, 3])
        target = T.copy()
        target[..., :3, 3] = np.minimum(np.maximum(wished, lower), upper)
        if self._units.use_rotation:
            target[..., :3, :3] = matrix_from_rotvec(step[..., 3:]) @ T[..., :3, :3]
        else:
            target[..., :3, :3] = part.R_home
        return target, (target[..., :3, 3] != wished).any(-1)


def _lay_out(spec: RobotSpec, units: ActionUnits) -> tuple[tuple[_Part, ...], tuple[str, ...]]:
    """Where each arm's numbers stand in the joint, gripper and action vectors."""
    parts: list[_Part] = []
    names: list[str] = []
    joint = gripper = 0
    for arm in spec.arms:
        if units.action_mode == "ee_delta":
            axes = ["x", "y", "z", *(["rx", "ry", "rz"] if units.use_rotation else [])]
            motion = [f"{arm.name}.{axis}" for axis in axes]
        else:
            motion = [f"{arm.name}.{name}" for name in arm.joint_names]
        begin = len(names)
        names += motion
        width = None
        if arm.gripper is not None and units.use_gripper:
            width = len(names)
            names.append(f"{arm.name}.gripper")
        parts.append(
            _Part(
                arm=arm,
                joints=slice(joint, joint + arm.dof),
                motion=slice(begin, begin + len(motion)),
                width=width,
                gripper=gripper,
                R_home=forward(arm, arm.home_rad)[:3, :3],
            )
        )
        joint += arm.dof
        gripper += arm.gripper is not None
    return tuple(parts), tuple(names)
