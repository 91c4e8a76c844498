"""How much a motion tells about the parameters: Fisher information, and what to want of it.

explore:   believed twins → **motion** → measurement → fit → posterior → task policy

Coordinates are in prior deviations throughout, so that a metre and a coefficient of friction can
be compared: 1 on the diagonal of the information is what the prior already knows.
"""

from collections.abc import Callable

import numpy as np

from robot_rl.types import F32, F64
from sim.explore.rehearsal import Rehearsal
from sim.twin import Start

__all__ = ["OBJECTIVES", "Objective", "a_optimal", "fisher_information", "log_det", "trace"]

Objective = Callable[[F64], F64]
"""From information (..., p, p) to what is to be maximised (...,)."""

_STEP = 0.15  # of central differences, in prior deviations: well above the roughness of contacts


def trace(information: F64) -> F64:
    """The sum over parameters, blind to whether they can be told apart.

    Ref: Memmel et al. 2024, "ASID"; its code rewards each step with a clipped trace.
    """
    return np.trace(information, axis1=-2, axis2=-1)


def log_det(information: F64) -> F64:
    """Gain in nats over the prior, times two: logdet(I + 1)."""
    return np.linalg.slogdet(information + np.eye(information.shape[-1]))[1]


def a_optimal(information: F64) -> F64:
    """Minus the mean squared error that is left, in prior variances: -tr((I + 1)^-1)."""
    return -np.trace(
        np.linalg.inv(information + np.eye(information.shape[-1])), axis1=-2, axis2=-1
    )


OBJECTIVES: dict[str, Objective] = {"trace": trace, "logdet": log_det, "a-optimal": a_optimal}
"""By the names that users type."""


def fisher_information(
    rehearsal: Rehearsal, start: Start, actions: F32, values: F64
) -> tuple[F64, F64]:
    """What motions would tell in twins, by central differences over whole trajectories.

    Args:
        rehearsal: The twins.
        start: Where the motions begin.
        actions: (c, steps, a), one motion each.
        values: (d, p) [SI] the twins about which differences are taken.

    Returns:
        Information (c, d, p, p) in prior deviations, and what is measured at the end (c, d, 2p, m)
        of the twins to both sides.
    """
    parameters = rehearsal.parameters
    p, d, c = len(parameters), len(values), len(actions)
    x = parameters.to_coordinates(values)
    h = _STEP * parameters.prior_std
    # Both sides stay within the bounds; clipping one would halve the slope.
    middle = np.clip(x, parameters.low + h, parameters.high - h)
    sides = np.concatenate((np.diag(h), -np.diag(h)))
    rows = parameters.to_values(middle[:, None] + sides).reshape(d * 2 * p, p)
    every = np.repeat(actions, d * 2 * p, 0)
    track = rehearsal.roll(start, every, np.tile(rows, (c, 1))) / rehearsal.std
    track = track.reshape(c, d, 2, p, -1)
    slopes = (track[:, :, 0] - track[:, :, 1]) / (2 * _STEP)
    last = track.reshape(c, d, 2 * p, actions.shape[1], -1)[:, :, :, -1] * rehearsal.std
    return slopes @ slopes.swapaxes(-1, -2), last
