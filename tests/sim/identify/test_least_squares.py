import numpy as np
import pytest

from robot_rl.errors import ConfigError, DataError
from sim.identify.least_squares import LeastSquaresCfg, jacobian, minimise
from sim.identify.parameters import Parameter, ParameterSet


def unknowns(
    count: int, low: float = -5.0, high: float = 5.0, prior_std: float = 1e3
) -> ParameterSet:
    """Linear parameters: coordinates are values."""
    return ParameterSet(
        [
            Parameter(
                name=f"x{i}",
                quantity="com_x",
                targets=("body",),
                nominal=0.5 * (low + high),
                low=low,
                high=high,
                prior_std=prior_std,
            )
            for i in range(count)
        ]
    )


SMALL_STEP = LeastSquaresCfg(step=1e-7)


def test_a_linear_problem_is_solved_exactly_with_its_prior() -> None:
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    known = unknowns(3, prior_std=0.7)
    found = minimise(known, lambda x: x @ A.T - y, LeastSquaresCfg(tolerance=1e-12))
    exact = np.linalg.solve(A.T @ A + np.eye(3) / 0.49, A.T @ y)
    np.testing.assert_allclose(found.coordinates, exact, atol=1e-6)
    np.testing.assert_allclose(found.jacobian, A, atol=1e-6)
    assert found.is_converged
    assert found.agreeing_starts == 3
    assert found.at_bound == ()


def test_a_curved_valley_is_followed_to_its_end() -> None:
    def valley(x):
        return np.stack((10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]), -1)

    cfg = LeastSquaresCfg(starts=1, candidates=0, step=1e-7, tolerance=1e-12, iterations=100)
    found = minimise(unknowns(2), valley, cfg)
    np.testing.assert_allclose(found.coordinates, [1, 1], atol=1e-4)


def test_a_minimum_beyond_the_bounds_is_held_there_and_named() -> None:
    target = np.array([9.0, 1.0])
    A = np.array([[1.0, 0.5], [0.0, 1.0], [0.3, 0.2]])
    found = minimise(unknowns(2), lambda x: (x - target) @ A.T, SMALL_STEP)
    assert found.at_bound == ("x0",)
    assert found.coordinates[0] == 5.0
    # The other one is best given the bound.
    best = 1 - (A[:, 1] @ A[:, 0]) * (5 - 9) / (A[:, 1] @ A[:, 1])
    assert found.coordinates[1] == pytest.approx(best, abs=1e-5)


def test_several_starts_leave_a_local_minimum() -> None:
    def two_wells(x):
        near = 1.0 + 2 * (x[:, 0] + 1) ** 2
        far = 20 * (x[:, 0] - 3.5) ** 2
        return np.sqrt(np.minimum(near, far))[:, None]

    known = unknowns(1, low=-5, high=5)
    alone = minimise(known, two_wells, LeastSquaresCfg(starts=1, candidates=0, step=1e-7))
    several = minimise(known, two_wells, SMALL_STEP)
    assert alone.coordinates[0] == pytest.approx(-1, abs=0.1)
    assert several.coordinates[0] == pytest.approx(3.5, abs=0.1)
    assert several.agreeing_starts < 3


def test_twins_that_break_are_stepped_around() -> None:
    def breaks(x):
        return np.where(x > 2.0, np.nan, x - 1.9)

    found = minimise(unknowns(1), breaks, SMALL_STEP)
    assert found.coordinates[0] == pytest.approx(1.9, abs=1e-4)
    with pytest.raises(DataError, match="neither the nominal twin nor any other"):
        minimise(unknowns(1), lambda x: np.full((len(x), 1), np.nan))


def test_differences_at_a_bound_stay_inside() -> None:
    def only_inside(x):
        assert (x <= 5).all() and (x >= -5).all()
        return x**2

    known = unknowns(2)
    J = jacobian(known, only_inside, np.array([5.0, -5.0]), step=1e-6)
    np.testing.assert_allclose(J, np.diag([10.0, -10.0]), rtol=1e-3)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="candidates is 0, but 3 starts need at least 2"):
        LeastSquaresCfg(candidates=0)
    with pytest.raises(ConfigError, match=r"step is 0\.0, but must be positive"):
        LeastSquaresCfg(step=0.0)
