"""The chain from a joint to a pixel: camera, board, joint offsets, joint noise and lens.

Each view predicts its corners by X^-1 G(q + offset + slack) Z (see `closed_form`), seen through
the lens. Encoders, gears and links err, so each view has a slack of its own in each joint; the
joints share one offset each. `refinement` fits all of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibration.board import BoardCfg
from calibration.camera import PARAMETERS, CameraModel
from calibration.closed_form import Mount, arm_transform
from calibration.detect import BoardView
from robot_rl.geometry import matrix_from_rotvec, transform_inverse
from robot_rl.types import F64, I64

__all__ = ["LENS", "SHARED", "Chain", "Forward", "State", "small_motion"]

Forward = Callable[[F64], F64]
"""Joint positions (..., n) [rad] to tool poses T_base_tcp (..., 4, 4)."""

SHARED = 13
"""Unknowns of X, Z ([m] x 3, [rad] x 3 each, in their own frames) and the board's log scale; the
joint offsets follow them, and `LENS` unknowns of the lens come last."""
LENS = len(PARAMETERS)

_STEP_RAD = 1e-5  # of the central differences along the joints
_HAT = np.zeros((3, 3, 3))  # vector to its cross-product matrix
_HAT[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = 1.0
_HAT[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = -1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Views of one camera with the joints of each, padded to one number of corners."""

    camera: CameraModel
    mount: Mount
    forward: Forward
    q_rad: F64  # (v, n)
    points_m: F64  # (v, k, 3) on the board
    corners_px: F64  # (v, k, 2)
    weight: F64  # (v, k) 1 where a corner was seen, else 0

    @classmethod
    def build(
        cls,
        camera: CameraModel,
        board: BoardCfg,
        mount: Mount,
        forward: Forward,
        views: Sequence[BoardView],
        q_rad: F64,
    ) -> "Chain":
        """Pad the views."""
        longest = max(len(view.ids) for view in views)
        points = np.tile(board.centre_m, (len(views), longest, 1))
        corners = np.zeros((len(views), longest, 2))
        weight = np.zeros((len(views), longest))
        for i, view in enumerate(views):
            k = len(view.ids)
            points[i, :k], corners[i, :k] = view.points_m(board), view.corners_px
            weight[i, :k] = 1.0
        return cls(
            camera=camera,
            mount=mount,
            forward=forward,
            q_rad=np.asarray(q_rad, np.float64),
            points_m=points,
            corners_px=corners,
            weight=weight,
        )

    def select(self, places: Sequence[int] | I64) -> "Chain":
        """The same with some of the views."""
        i = np.asarray(places, np.int64)
        return replace(
            self,
            q_rad=self.q_rad[i],
            points_m=self.points_m[i],
            corners_px=self.corners_px[i],
            weight=self.weight[i],
        )

    def camera_of(self, state: "State") -> CameraModel:
        """The camera with the lens of a state."""
        return self.camera.moved(state.lens) if state.lens.any() else self.camera

    def board_in_camera(self, state: "State") -> F64:
        """T_cam_board (v, 4, 4) that the joints predict."""
        q = self.q_rad + state.offset_rad + state.slack_rad
        return transform_inverse(state.X) @ arm_transform(self.mount, self.forward(q)) @ state.Z

    def residuals(self, state: "State") -> F64:
        """Seen minus predicted (v, k, 2) [px]; 0 where no corner was seen."""
        C = self.board_in_camera(state)
        points = self.points_m * np.exp(state.log_scale)
        seen = self.camera_of(state).project(
            points @ C[:, :3, :3].swapaxes(-1, -2) + C[:, None, :3, 3]
        )
        return (self.corners_px - seen) * self.weight[..., None]

    def view_rms_px(self, state: "State") -> F64:
        """(v,) root mean squared distance of the corners of each view."""
        squared = (self.residuals(state) ** 2).sum((-1, -2))
        return np.sqrt(squared / np.maximum(self.weight.sum(-1), 1.0))

    def _arm_derivative(self, q: F64) -> F64:
        """dG/dq (v, n, 4, 4) by central differences."""
        n = q.shape[-1]
        nudge = _STEP_RAD * np.eye(n)
        moved = np.stack([q[:, None] + nudge, q[:, None] - nudge])  # (2, v, n, n)
        G = arm_transform(self.mount, self.forward(moved))
        return (G[0] - G[1]) / (2 * _STEP_RAD)

    def jacobian(self, state: "State") -> tuple[F64, F64]:
        """Of the predicted pixels: by X, Z and scale (v, k, 2, SHARED), by joint (v, k, 2, n)."""
        C, X_inv = self.board_in_camera(state), transform_inverse(state.X)
        R = C[:, None, :3, :3]
        points = self.points_m * np.exp(state.log_scale)
        turned = (R @ points[..., None])[..., 0]
        inside = turned + C[:, None, :3, 3]
        J = self.camera_of(state).jacobian(inside)
        shared = np.empty((*J.shape[:-1], SHARED))
        shared[..., :3] = -J
        shared[..., 3:6] = J @ np.tensordot(inside, _HAT, 1)
        shared[..., 6:9] = J @ R
        shared[..., 9:12] = -(J @ R) @ np.tensordot(points, _HAT, 1)
        shared[..., 12:] = J @ turned[..., None]
        q = self.q_rad + state.offset_rad + state.slack_rad
        D = X_inv @ self._arm_derivative(q) @ state.Z  # (v, n, 4, 4)
        motion = np.einsum("vnij,vkj->vkin", D[:, :, :3, :3], points)
        motion += D[:, None, :, :3, 3].swapaxes(-1, -2)
        return shared, J @ motion

    def lens_jacobian(self, state: "State") -> F64:
        """Of the predicted pixels by the lens, (v, k, 2, LENS)."""
        return self.camera_of(state).parameter_jacobian(self._in_camera(state))

    def _in_camera(self, state: "State") -> F64:
        """(v, k, 3) [m] the corners before the camera."""
        C = self.board_in_camera(state)
        points = self.points_m * np.exp(state.log_scale)
        return points @ C[:, :3, :3].swapaxes(-1, -2) + C[:, None, :3, 3]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """All unknowns of a chain."""

    X: F64  # (4, 4) see `closed_form`
    Z: F64  # (4, 4)
    offset_rad: F64  # (n,) added to what the encoders say
    slack_rad: F64  # (v, n) the same, one view only
    log_scale: float = 0.0  # of the board's size
    lens: F64 = field(default_factory=lambda: np.zeros(LENS))  # added to the camera's parameters

    @classmethod
    def start(cls, X: F64, Z: F64, views: int, joints: int) -> "State":
        """Perfect joints."""
        return cls(X=X, Z=Z, offset_rad=np.zeros(joints), slack_rad=np.zeros((views, joints)))

    def moved(self, shared: F64, slack: F64) -> "State":
        """The state after a step: shared (SHARED + n + LENS,), slack (v, n)."""
        return State(
            X=self.X @ small_motion(shared[:6]),
            Z=self.Z @ small_motion(shared[6:12]),
            log_scale=self.log_scale + float(shared[12]),
            offset_rad=self.offset_rad + shared[SHARED:-LENS],
            slack_rad=self.slack_rad + slack,
            lens=self.lens + shared[-LENS:],
        )

    def without_slack(self, views: int) -> "State":
        """What predicts another set of so many views."""
        return replace(self, slack_rad=np.zeros((views, len(self.offset_rad))))


def small_motion(twist: F64) -> F64:
    """(4, 4) of a small motion: translation [m], then rotation vector [rad]."""
    T = np.eye(4)
    T[:3, :3] = matrix_from_rotvec(twist[3:])
    T[:3, 3] = twist[:3]
    return T
