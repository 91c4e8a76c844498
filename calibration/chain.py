"""The chain from a joint to a pixel, and its fit: camera, board, joint offsets and joint noise.

Each view predicts its corners by X^-1 G(q + offset + slack) Z (see `closed_form`). Encoders, gears
and links err, so each view has a slack of its own in each joint, small by a prior; the joints
share one offset each. All of it is one maximum-likelihood fit by Levenberg-Marquardt, the slack
eliminated view by view (Schur complement).

Without the slack, arm noise is explained by moving the camera, and the result is worse than the
closed form; without offsets, a fraction of a degree in the joints costs millimetres.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.closed_form import Mount, arm_transform
from calibration.detect import BoardView
from robot_rl.geometry import matrix_from_rotvec, transform_inverse
from robot_rl.types import F64, I64

__all__ = ["Chain", "Forward", "Noise", "Refined", "State", "refine", "view_information"]

Forward = Callable[[F64], F64]
"""Joint positions (..., n) [rad] to tool poses T_base_tcp (..., 4, 4)."""

_STEP_RAD = 1e-5  # of the central differences along the joints
_HUBER = 3.0  # standard deviations beyond which a corner counts linearly
_ITERATIONS = 60
_DONE = 1e-9  # relative decrease of the cost
_HAT = np.zeros((3, 3, 3))  # vector to its cross-product matrix
_HAT[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = 1.0
_HAT[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = -1.0


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How far what is measured may be off."""

    corner_px: float
    """Standard deviation of a corner, in each direction."""
    joint_rad: float = 2e-4
    """Of a joint in one view: encoder noise, play, sag; 0 for none."""
    offset_rad: float = 0.02
    """Of the constant offset of a joint; 0 for none."""
    scale: float = 0.0
    """Of the size of the printed board, as a share; 0 takes it as it is said to be."""


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

    def board_in_camera(self, state: "State") -> F64:
        """T_cam_board (v, 4, 4) that the joints predict."""
        q = self.q_rad + state.offset_rad + state.slack_rad
        return transform_inverse(state.X) @ arm_transform(self.mount, self.forward(q)) @ state.Z

    def residuals(self, state: "State") -> F64:
        """Seen minus predicted (v, k, 2) [px]; 0 where no corner was seen."""
        C = self.board_in_camera(state)
        points = self.points_m * np.exp(state.log_scale)
        seen = self.camera.project(points @ C[:, :3, :3].swapaxes(-1, -2) + C[:, None, :3, 3])
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
        """Of the predicted pixels: by X, Z and scale (v, k, 2, 13), and by joint (v, k, 2, n)."""
        C, X_inv = self.board_in_camera(state), transform_inverse(state.X)
        R = C[:, None, :3, :3]
        points = self.points_m * np.exp(state.log_scale)
        turned = (R @ points[..., None])[..., 0]
        inside = turned + C[:, None, :3, 3]
        J = self.camera.jacobian(inside)
        shared = np.empty((*J.shape[:-1], 13))
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


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """All unknowns of a chain."""

    X: F64  # (4, 4) see `closed_form`
    Z: F64  # (4, 4)
    offset_rad: F64  # (n,) added to what the encoders say
    slack_rad: F64  # (v, n) the same, one view only
    log_scale: float = 0.0  # of the board's size

    @classmethod
    def start(cls, X: F64, Z: F64, views: int, joints: int) -> "State":
        """Perfect joints."""
        return cls(X=X, Z=Z, offset_rad=np.zeros(joints), slack_rad=np.zeros((views, joints)))

    def moved(self, shared: F64, slack: F64) -> "State":
        """The state after a step: shared (13 + n,) as in `Chain.jacobian`, slack (v, n)."""
        return State(
            X=self.X @ _transform(shared[:6]),
            Z=self.Z @ _transform(shared[6:12]),
            log_scale=self.log_scale + float(shared[12]),
            offset_rad=self.offset_rad + shared[13:],
            slack_rad=self.slack_rad + slack,
        )

    def without_slack(self, views: int) -> "State":
        """What predicts another set of so many views."""
        return replace(self, slack_rad=np.zeros((views, len(self.offset_rad))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """A fit and its worth."""

    state: State
    std: F64  # (13 + n,) of X and Z ([m] x 3, [rad] x 3, in their own frames), scale, offsets
    cost: float  # sum of squares in standard deviations


def refine(
    chain: Chain, start: State, noise: Noise, joints: NDArray[np.bool_] | None = None
) -> Refined:
    """The most likely state near `start`.

    Args:
        chain: The views.
        start: Within some degrees and centimetres.
        noise: A noise of 0 takes its unknown out of the fit.
        joints: (n,) bool, which offsets are free (default: all).
    """
    n = chain.q_rad.shape[1]
    free = np.ones(13 + n, bool)
    free[12] = noise.scale > 0
    free[13:] = np.ones(n, bool) if joints is None else joints
    free[13:] &= noise.offset_rad > 0
    problem = _Problem(chain=chain, noise=noise, free=free)
    state, cost, damping = start, problem.cost(start), 1e-4
    for _ in range(_ITERATIONS):
        equations = problem.equations(state)
        accepted = False
        while not accepted and damping < 1e8:
            step = problem.step(equations, damping)
            candidate = state.moved(*step)
            candidate_cost = problem.cost(candidate)
            accepted = candidate_cost < cost
            damping = damping * 0.2 if accepted else damping * 5.0
        if not accepted:
            break
        decrease, state, cost = (cost - candidate_cost) / cost, candidate, candidate_cost
        damping = max(damping, 1e-10)
        if decrease < _DONE:
            break
    std = np.zeros(13 + n)
    std[free] = np.sqrt(np.diag(problem.covariance(problem.equations(state))))
    return Refined(state=state, std=std, cost=cost)


def view_information(chain: Chain, state: State, noise: Noise) -> F64:
    """What each view tells: (v, 12 + n, 12 + n) of X, Z and offsets, its joint noise taken out."""
    n = chain.q_rad.shape[1]
    free = np.ones(13 + n, bool)
    free[12] = False
    problem = _Problem(chain=chain, noise=replace(noise, offset_rad=0.0), free=free)
    found = []
    for i in range(len(chain.q_rad)):
        one = replace(problem, chain=chain.select([i]))
        e = one.equations(state.without_slack(1))
        found.append(e.A - e.B[0] @ np.linalg.solve(e.D[0], e.B[0].T))
    return np.array(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Equations:
    """Normal equations: shared unknowns, slack of each view, and what couples them."""

    A: F64  # (m, m)
    B: F64  # (v, m, n)
    D: F64  # (v, n, n)
    a: F64  # (m,)
    d: F64  # (v, n)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """A chain with its noise, as least squares."""

    chain: Chain
    noise: Noise
    free: np.ndarray  # (13 + n,) bool

    @property
    def _prior(self) -> F64:
        """(13 + n,) inverse variances of the shared unknowns."""
        n = len(self.free) - 13
        prior = np.zeros(13 + n)
        if self.noise.scale > 0:
            prior[12] = self.noise.scale**-2
        if self.noise.offset_rad > 0:
            prior[13:] = self.noise.offset_rad**-2
        return prior

    def _standard(self, state: State) -> tuple[F64, F64]:
        """Residuals (v, k, 2) in standard deviations, and the weight of each corner (v, k)."""
        r = self.chain.residuals(state) / self.noise.corner_px
        length = np.sqrt((r * r).sum(-1))
        return r, np.minimum(1.0, _HUBER / np.maximum(length, 1e-12))

    def _values(self, state: State) -> F64:
        """(13 + n,) what the priors pull to zero."""
        return np.concatenate([np.zeros(12), [state.log_scale], state.offset_rad])

    def cost(self, state: State) -> float:
        """Squares, with Huber's long arms, plus the priors."""
        if not (self.chain.board_in_camera(state)[:, 2, 3] > 0).all():
            return np.inf  # the board behind the camera
        r, weight = self._standard(state)
        length = np.sqrt((r * r).sum(-1))
        huber = np.where(weight < 1.0, 2 * _HUBER * length - _HUBER**2, length**2)
        prior = self._prior @ self._values(state) ** 2
        slack = (state.slack_rad**2).sum() / self.noise.joint_rad**2 if self._has_slack else 0.0
        return float(huber.sum() + prior + slack)

    @property
    def _has_slack(self) -> bool:
        return self.noise.joint_rad > 0

    def equations(self, state: State) -> _Equations:
        """Linearise about a state."""
        chain, sigma = self.chain, self.noise.corner_px
        v, k = chain.weight.shape
        r, weight = self._standard(state)
        shared, joints = chain.jacobian(state)
        n = joints.shape[-1]
        root = (np.sqrt(weight) * chain.weight)[..., None]
        r = (r * root).reshape(v, 2 * k)
        J = np.concatenate([shared, joints], -1)[..., self.free] * (root[..., None] / sigma)
        J = J.reshape(v, 2 * k, -1)
        prior = self._prior[self.free]
        A = np.einsum("vki,vkj->ij", J, J, optimize=True) + np.diag(prior)
        a = np.einsum("vki,vk->i", J, r) - prior * self._values(state)[self.free]
        if not self._has_slack:
            nothing = np.zeros((v, n))
            return _Equations(
                A=A, B=np.zeros((v, len(A), n)), D=np.tile(np.eye(n), (v, 1, 1)), a=a, d=nothing
            )
        Js = (joints * (root[..., None] / sigma)).reshape(v, 2 * k, n)
        inverse = self.noise.joint_rad**-2
        return _Equations(
            A=A,
            B=J.swapaxes(-1, -2) @ Js,
            D=Js.swapaxes(-1, -2) @ Js + inverse * np.eye(n),
            a=a,
            d=np.einsum("vki,vk->vi", Js, r) - inverse * state.slack_rad,
        )

    def step(self, e: _Equations, damping: float) -> tuple[F64, F64]:
        """Damped step of the shared unknowns (13 + n,) and of the slack (v, n)."""
        A = e.A + damping * np.diag(np.diag(e.A))
        D = e.D * (1.0 + damping * np.eye(e.D.shape[-1]))
        gain = np.linalg.solve(D, e.B.swapaxes(-1, -2))  # (v, n, m)
        own = np.linalg.solve(D, e.d[..., None])[..., 0]
        S = A - np.einsum("vmn,vnk->mk", e.B, gain)
        shared = np.zeros(len(self.free))
        shared[self.free] = np.linalg.solve(S, e.a - np.einsum("vmn,vn->m", e.B, own))
        return shared, own - gain @ shared[self.free]

    def covariance(self, e: _Equations) -> F64:
        """(m, m) of the free shared unknowns."""
        gain = np.linalg.solve(e.D, e.B.swapaxes(-1, -2))
        return np.linalg.inv(e.A - np.einsum("vmn,vnk->mk", e.B, gain))


def _transform(twist: F64) -> F64:
    """(4, 4) of a small motion: translation [m], then rotation vector [rad]."""
    T = np.eye(4)
    T[:3, :3] = matrix_from_rotvec(twist[3:])
    T[:3, 3] = twist[:3]
    return T
