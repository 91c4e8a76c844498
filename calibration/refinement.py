"""The fit of a chain: camera, board, joint offsets, joint noise and lens, the most likely at once.

Levenberg-Marquardt on corners in standard deviations; each view's slack of the joints is small by
a prior, and eliminated view by view (Schur complement).

Without the slack, arm noise is explained by moving the camera, and the result is worse than the
closed form; without offsets, a fraction of a degree in the joints costs millimetres. A lens taken
as exact passes its error on to the camera's place: a fifth of a pixel in the image centre is 0.02
degrees. The arm's turns tell the lens more than images alone do, so it is fitted, too.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.chain import LENS, SHARED, Chain, State
from robot_rl.types import F64

__all__ = ["Noise", "Refined", "refine", "view_information"]

_HUBER = 3.0  # standard deviations beyond which a corner counts linearly
_ITERATIONS = 60
_DONE = 1e-9  # relative decrease of the cost


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
    lens: tuple[float, ...] = (0.0,) * LENS
    """Of the camera's `parameters`; 0 takes one as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """A fit and its worth."""

    state: State
    std: F64  # (SHARED + n + LENS,) see `chain.SHARED`; 0 of what was not free
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
    offsets = np.full(n, noise.offset_rad > 0)
    if joints is not None:
        offsets &= joints
    lens = np.array(noise.lens) > 0
    free = np.concatenate([np.ones(SHARED - 1, bool), [noise.scale > 0], offsets, lens])
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
    std = np.zeros(len(free))
    std[free] = np.sqrt(np.diag(problem.covariance(problem.equations(state))))
    return Refined(state=state, std=std, cost=cost)


def view_information(chain: Chain, state: State, noise: Noise) -> F64:
    """What each view tells of X, Z, offsets and lens, its joint noise taken out.

    Returns:
        (v, m, m) with m = 12 + n + LENS; priors are not in it.
    """
    n = chain.q_rad.shape[1]
    free = np.ones(SHARED + n + LENS, bool)
    free[SHARED - 1] = False
    bare = replace(noise, offset_rad=0.0, scale=0.0, lens=(0.0,) * LENS)
    problem = _Problem(chain=chain, noise=bare, free=free)
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
    free: NDArray[np.bool_]  # (SHARED + n + LENS,)

    @property
    def _prior(self) -> F64:
        """(SHARED + n + LENS,) inverse variances of the shared unknowns."""
        n, noise = len(self.free) - SHARED - LENS, self.noise
        std = np.concatenate(
            [np.zeros(12), [noise.scale], np.full(n, noise.offset_rad), noise.lens]
        )
        return np.divide(1.0, std**2, out=np.zeros_like(std), where=std > 0)

    def _standard(self, state: State) -> tuple[F64, F64]:
        """Residuals (v, k, 2) in standard deviations, and the weight of each corner (v, k)."""
        r = self.chain.residuals(state) / self.noise.corner_px
        length = np.sqrt((r * r).sum(-1))
        return r, np.minimum(1.0, _HUBER / np.maximum(length, 1e-12))

    def _values(self, state: State) -> F64:
        """(SHARED + n + LENS,) what the priors pull to zero."""
        return np.concatenate([np.zeros(12), [state.log_scale], state.offset_rad, state.lens])

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
        J = [shared, joints, chain.lens_jacobian(state)]
        J = np.concatenate(J, -1)[..., self.free] * (root[..., None] / sigma)
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
        """Damped step of the shared unknowns (SHARED + n + LENS,) and of the slack (v, n)."""
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
