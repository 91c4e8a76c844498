"""Levenberg–Marquardt whose every column, start and damping is a row of one batch.

motion → measurement → parameters → **fit** → posterior → twins drawn from it

It knows no simulator: whatever gives residuals for a table of coordinates can be fitted, so that
pushes of objects and motions of arms share one solver.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from robot_rl.errors import ConfigError, DataError
from robot_rl.types import F64
from sim.identify.parameters import ParameterSet

__all__ = ["LeastSquaresCfg", "Minimum", "Residuals", "jacobian", "minimise"]

Residuals = Callable[[F64], F64]
"""From coordinates (n, p) to residuals (n, r), each over its standard deviation."""

_DAMPINGS = np.array([0.1, 1.0, 10.0])  # tried at once, times the present one
_LEAST_DAMPING, _MOST_DAMPING = 1e-9, 1e9
_AT_BOUND = 1e-6  # of the range
_SAME_COST = 1.0  # starts whose costs differ by less found the same minimum


@dataclass(frozen=True, kw_only=True)
class LeastSquaresCfg:
    """How hard to look."""

    starts: int = 3
    """Descents: one from the nominal, others from the best of the candidates."""
    candidates: int = 16
    """Draws between the bounds among which the other starts are chosen."""
    iterations: int = 30
    """Most steps of a descent."""
    step: float = 1e-3
    """Of finite differences, in prior deviations."""
    tolerance: float = 0.02
    """A descent ends when a step lowers the sum of squares by less; 1 is one deviation of one
    residual."""
    relative_tolerance: float = 1e-5
    """Or by less than this share of it, where the model does not explain the data anyway."""

    def __post_init__(self) -> None:
        """Refuse counts below one and tolerances that are not positive."""
        for key in ("starts", "iterations"):
            if getattr(self, key) < 1:
                raise ConfigError(f"fit: {key} is {getattr(self, key)}, but must be at least 1.")
        if self.candidates < self.starts - 1:
            raise ConfigError(
                f"fit: candidates is {self.candidates}, but {self.starts} starts need at least "
                f"{self.starts - 1}."
            )
        for key in ("step", "tolerance", "relative_tolerance"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"fit: {key} is {getattr(self, key)}, but must be positive.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """The best point found, and how it was found."""

    coordinates: F64  # (p,)
    residuals: F64  # (r,) of the data
    jacobian: F64  # (r, p) of the data
    cost: float
    """Sum of squared residuals of data and prior."""
    start_costs: tuple[float, ...]
    """Where each start ended."""
    is_converged: bool
    """Whether the best descent ended because nothing was left to gain."""
    at_bound: tuple[str, ...]
    """Parameters that would have gone beyond their bounds."""
    evaluations: int
    """Rows evaluated."""
    costs: tuple[float, ...] = ()
    """Of the best descent, step by step."""

    @property
    def agreeing_starts(self) -> int:
        """How many starts came to this minimum."""
        return sum(cost < self.cost + _SAME_COST for cost in self.start_costs)


@dataclass(kw_only=True, eq=False)
class _Descent:
    """One start under way."""

    x: F64
    r: F64  # with the prior's rows
    cost: float
    damping: float = 1e-2
    is_done: bool = False
    needs_jacobian: bool = True
    J: F64 = field(default_factory=lambda: np.zeros((0, 0)))
    costs: list[float] = field(default_factory=list)


class _Problem:
    """Residuals of data and prior together, counted."""

    def __init__(self, parameters: ParameterSet, residuals: Residuals) -> None:
        self.parameters, self._residuals = parameters, residuals
        self.evaluations = 0

    def __call__(self, x: F64) -> F64:
        """(n, r + p) for coordinates (n, p); a twin that breaks is infinitely wrong."""
        data = self._residuals(x)
        self.evaluations += len(x)
        data = np.where(np.isfinite(data).all(1, keepdims=True), data, np.inf)
        prior = (x - self.parameters.prior_mean) / self.parameters.prior_std
        return np.concatenate((data, prior), 1)


def minimise(
    parameters: ParameterSet,
    residuals: Residuals,
    cfg: LeastSquaresCfg | None = None,
    *,
    seed: int = 0,
) -> Minimum:
    """Find the coordinates that explain data and prior best, from several starts.

    Args:
        parameters: Their bounds and priors.
        residuals: Of the data.
        cfg: How hard to look.
        seed: Draws the starts.

    Raises:
        DataError: No start could be simulated.
    """
    cfg = cfg or LeastSquaresCfg()
    problem = _Problem(parameters, residuals)
    descents = _begin(problem, cfg, np.random.default_rng(seed))
    for _ in range(cfg.iterations):
        under_way = [one for one in descents if not one.is_done]
        if not under_way:
            break
        _differentiate(problem, [one for one in under_way if one.needs_jacobian], cfg)
        _step(problem, under_way, cfg)
    best = min(descents, key=lambda one: one.cost)
    J = jacobian(parameters, residuals, best.x, cfg.step)
    problem.evaluations += 2 * len(parameters)
    gradient = J.T @ best.r[: len(J)] + (best.x - parameters.prior_mean) / parameters.prior_std**2
    outward = _held(parameters, best.x, gradient)
    return Minimum(
        coordinates=best.x,
        residuals=best.r[: len(J)],
        jacobian=J,
        cost=best.cost,
        start_costs=tuple(one.cost for one in descents),
        is_converged=best.is_done,
        at_bound=tuple(n for n, held in zip(parameters.names, outward, strict=True) if held),
        evaluations=problem.evaluations,
        costs=tuple(best.costs),
    )


def jacobian(parameters: ParameterSet, residuals: Residuals, x: F64, step: float = 1e-3) -> F64:
    """(r, p) derivatives of the data's residuals in coordinates, by central differences.

    At a bound the difference is taken inside it, over the shorter way.
    """
    h = step * parameters.prior_std
    up, down = np.minimum(x + h, parameters.high), np.maximum(x - h, parameters.low)
    p = len(x)
    rows = np.tile(x, (2 * p, 1))
    rows[np.arange(p), np.arange(p)], rows[p + np.arange(p), np.arange(p)] = up, down
    r = residuals(rows)
    return ((r[:p] - r[p:]) / (up - down)[:, None]).T


def _begin(problem: _Problem, cfg: LeastSquaresCfg, rng: np.random.Generator) -> list[_Descent]:
    """The nominal and the best of the candidates."""
    known = problem.parameters
    count = cfg.candidates if cfg.starts > 1 else 0
    drawn = rng.uniform(known.low, known.high, (count, len(known)))
    x = np.concatenate((known.clip(known.prior_mean)[None], drawn))
    r = problem(x)
    cost = (r**2).sum(1)
    others = 1 + np.argsort(cost[1:])[: cfg.starts - 1]
    chosen = [i for i in (0, *others) if np.isfinite(cost[i])]
    if not chosen:
        raise DataError(
            "neither the nominal twin nor any other within the bounds can play this measurement. "
            "Check that it is of this robot, and in radians."
        )
    return [_Descent(x=x[i], r=r[i], cost=float(cost[i]), costs=[float(cost[i])]) for i in chosen]


def _differentiate(problem: _Problem, descents: list[_Descent], cfg: LeastSquaresCfg) -> None:
    """Jacobians by forward differences, into the bounds, of all descents in one batch."""
    if not descents:
        return
    known, p = problem.parameters, len(problem.parameters)
    h = cfg.step * known.prior_std
    signs = [np.where(one.x + h > known.high, -1.0, 1.0) for one in descents]
    rows = [one.x + np.diag(sign * h) for one, sign in zip(descents, signs, strict=True)]
    r = problem(np.concatenate(rows))
    for i, (one, sign) in enumerate(zip(descents, signs, strict=True)):
        columns = (r[i * p : (i + 1) * p] - one.r) / (sign * h)[:, None]
        one.J = np.where(np.isfinite(columns), columns, 0.0).T
        one.needs_jacobian = False


def _step(problem: _Problem, descents: list[_Descent], cfg: LeastSquaresCfg) -> None:
    """Try three dampings of each descent in one batch, and take the best if it is better."""
    trials = np.concatenate(
        [
            np.stack([_proposal(problem.parameters, one, one.damping * f) for f in _DAMPINGS])
            for one in descents
        ]
    )
    r = problem(trials).reshape(len(descents), len(_DAMPINGS), -1)
    x = trials.reshape(len(descents), len(_DAMPINGS), -1)
    for one, x_one, r_one in zip(descents, x, r, strict=True):
        cost = (r_one**2).sum(1)
        best = int(np.argmin(cost))
        gain = one.cost - cost[best]
        if gain > 0:
            one.x, one.r, one.cost = x_one[best], r_one[best], float(cost[best])
            one.damping = max(_LEAST_DAMPING, one.damping * _DAMPINGS[best])
            one.needs_jacobian = True
            one.is_done = bool(gain < max(cfg.tolerance, cfg.relative_tolerance * one.cost))
        else:
            one.damping *= 100.0
            one.is_done = one.damping > _MOST_DAMPING
        one.costs.append(one.cost)


def _proposal(parameters: ParameterSet, one: _Descent, damping: float) -> F64:
    """The damped step within the bounds, for those parameters that are not held by one."""
    gradient = one.J.T @ one.r
    free = ~_held(parameters, one.x, gradient)
    x = one.x.copy()
    for _ in range(len(x)):  # at each turn at least one more parameter meets its bound
        J, g = one.J[:, free], (one.J.T @ (one.r + one.J @ (x - one.x)))[free]
        H = J.T @ J
        step = np.zeros_like(x)
        step[free] = -np.linalg.solve(H + damping * np.diag(np.diag(H)), g)
        reached = x + step
        beyond = free & ((reached < parameters.low) | (reached > parameters.high))
        if not beyond.any():
            return reached
        x[beyond] = np.clip(reached, parameters.low, parameters.high)[beyond]
        free &= ~beyond
        if not free.any():
            break
    return x


def _held(parameters: ParameterSet, x: F64, gradient: F64) -> np.ndarray:
    """(p,) bool: which parameters stand at a bound and want to pass it."""
    near = _AT_BOUND * (parameters.high - parameters.low)
    low = (x <= parameters.low + near) & (gradient > 0)
    high = (x >= parameters.high - near) & (gradient < 0)
    return low | high
