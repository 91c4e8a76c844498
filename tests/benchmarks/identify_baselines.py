"""Other ways to fit the same residuals: random search and CMA-ES, given so many rollouts."""

import warnings

import numpy as np

from robot_rl.types import F64
from sim.identify.least_squares import Residuals
from sim.identify.parameters import ParameterSet

CHUNK = 48


def random_search(parameters: ParameterSet, residuals: Residuals, rollouts: int, seed: int) -> F64:
    """(p,) the best of uniform draws between the bounds, the nominal among them."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(parameters.low, parameters.high, (rollouts, len(parameters)))
    x[0] = parameters.clip(parameters.prior_mean)
    chunks = [x[i : i + CHUNK] for i in range(0, rollouts, CHUNK)]
    cost = np.concatenate([(residuals(chunk) ** 2).sum(1) for chunk in chunks])
    return x[int(np.argmin(cost))]


def cma_es(
    parameters: ParameterSet, residuals: Residuals, rollouts: int, seed: int, population: int = 24
) -> F64:
    """(p,) what CMA-ES finds in the unit cube between the bounds, from the nominal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma

        low, span = parameters.low, parameters.high - parameters.low
        start = (parameters.clip(parameters.prior_mean) - low) / span
        search = cma.CMAEvolutionStrategy(
            np.clip(start, 0.02, 0.98),
            0.2,
            {"bounds": [0, 1], "popsize": population, "seed": seed + 1, "verbose": -9},
        )
        for _ in range(max(1, rollouts // population)):
            asked = np.array(search.ask())
            search.tell(list(asked), (residuals(low + span * asked) ** 2).sum(1).tolist())
        return low + span * np.clip(search.result.xbest, 0, 1)
