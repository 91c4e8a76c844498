"""Joint targets by name: from what a message lists, in any order, to vectors in the robot's order.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

from collections.abc import Sequence

import numpy as np

from robot_rl.types import F64, RobotSpec

__all__ = ["TargetNames", "gripper_name"]


def gripper_name(arm: str) -> str:
    """How the gripper of an arm is called among the names of a target."""
    return f"{arm}_gripper"


class TargetNames:
    """The names of a robot's joints and grippers, and where each stands."""

    def __init__(self, spec: RobotSpec) -> None:
        joints = [name for arm in spec.arms for name in arm.joint_names]
        grippers = [gripper_name(arm.name) for arm in spec.arms if arm.gripper is not None]
        self.names = (*joints, *grippers)
        self._dof = len(joints)
        self._index = {name: i for i, name in enumerate(self.names)}
        ends = np.cumsum([arm.dof for arm in spec.arms])
        self._arms = [
            slice(int(e) - arm.dof, int(e)) for e, arm in zip(ends, spec.arms, strict=True)
        ]

    def pick(
        self, names: Sequence[str], values: Sequence[float], *, is_partial: bool = False
    ) -> tuple[F64, F64] | str:
        """Joint targets (dof,) [rad] and openings (num_grippers,) [m], or why there are none.

        Args:
            names: The names of a message, in any order.
            values: Their values.
            is_partial: Whether arms (as a whole) and grippers may be left out; they are NaN then.
        """
        if len(names) != len(values):
            return f"{len(names)} names, but {len(values)} values"
        given = set(names)
        if unknown := sorted(given - set(self._index)):
            return f"unknown names {', '.join(unknown)}; known are {', '.join(self.names)}"
        if len(given) != len(names):
            return "a name stands twice"
        missing = [name for name in self.names if name not in given]
        if missing and not (is_partial and given):
            return f"names missing: {', '.join(missing)}"
        if not np.isfinite(values).all():
            return "a value is NaN or infinite"
        out = np.full(len(self.names), np.nan)
        out[[self._index[name] for name in names]] = values
        for arm in self._arms:
            if np.isnan(out[arm]).any() and not np.isnan(out[arm]).all():
                return f"names missing: {', '.join(missing)}; an arm's joints go together"
        return out[: self._dof], out[self._dof :]
