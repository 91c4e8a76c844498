"""How far an arm stays from the table and from itself: checked in the twin before anything moves.

**motion** → measurement → parameters → fit → posterior → twins drawn from it

Distances are between all geoms that are seen, since the early links of the twin touch nothing.
"""

import mujoco
import numpy as np

from robot_rl.types import F64, RobotSpec

__all__ = ["Clearance"]

_APART = 3  # links nearer than this along the arm cannot be kept apart
_FAR_M = 0.3  # farther is not measured


class Clearance:
    """Least distances of a robot's arms from the scene and from themselves.

    Args:
        model: The compiled twin.
        robot: Its arms.
    """

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        joints = [name for arm in robot.arms for name in arm.joint_names]
        self._qpos = np.array([model.joint(name).qposadr[0] for name in joints])
        links = [int(model.joint(name).bodyid[0]) for name in joints]
        self._pairs = self._find_pairs(links)

    def least_m(self, q_rad: F64) -> tuple[float, str]:
        """The least distance [m] along joint positions (m, dof), and between what it is."""
        model, data = self._model, self._data
        least, words = _FAR_M, "anything"
        for q in q_rad:
            data.qpos[self._qpos] = q
            mujoco.mj_kinematics(model, data)
            for a, b in self._pairs:
                distance = mujoco.mj_geomDistance(model, data, a, b, _FAR_M, None)
                if distance < least:
                    least, words = distance, f"{self._owner(a)} and {self._owner(b)}"
        return least, words

    def _find_pairs(self, links: list[int]) -> list[tuple[int, int]]:
        """Geoms whose distance matters."""
        model = self._model
        depth = {body: self._depth(body, links) for body in range(model.nbody)}
        seen = [g for g in range(model.ngeom) if model.geom_rgba[g, 3] > 0]
        arm = [g for g in seen if depth[int(model.geom_bodyid[g])] > 0]
        solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        world = [g for g in seen if g not in arm and solid[g] and model.geom_bodyid[g] == 0]
        pairs = [(a, b) for a in arm for b in world if depth[int(model.geom_bodyid[a])] > 1]
        bases = [g for g in seen if self._is_base(int(model.geom_bodyid[g]), links)]
        every = [(g, depth[int(model.geom_bodyid[g])], self._root(g)) for g in [*bases, *arm]]
        for i, (a, depth_a, root_a) in enumerate(every):
            for b, depth_b, root_b in every[i + 1 :]:
                if root_a != root_b or abs(depth_a - depth_b) >= _APART:
                    pairs.append((a, b))
        return pairs

    def _depth(self, body: int, links: list[int]) -> int:
        """How many of the arm's joints lie between the world and a body."""
        count = 0
        while body > 0:
            count += body in links
            body = int(self._model.body_parentid[body])
        return count

    def _is_base(self, body: int, links: list[int]) -> bool:
        """Whether the first link of an arm hangs on this body."""
        return body > 0 and any(int(self._model.body_parentid[link]) == body for link in links)

    def _root(self, geom: int) -> int:
        return int(self._model.body_rootid[self._model.geom_bodyid[geom]])

    def _owner(self, geom: int) -> str:
        """What a geom is called: by its own name or its body's."""
        return (
            self._model.geom(geom).name
            or self._model.body(int(self._model.geom_bodyid[geom])).name
        )
