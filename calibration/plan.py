"""Which views to take: the few of many candidates that tell most about where the camera is.

Greedy and A-optimal: each next view is the one that leaves the smallest variance of camera and
joint offsets, each measured in what is asked of it. Ref: Fedorov 1972, "Theory of Optimal
Experiments".
"""

from collections.abc import Sequence

import numpy as np

from calibration.chain import LENS, Chain, State
from calibration.refinement import Noise, view_information
from robot_rl.errors import ConfigError
from robot_rl.types import F64

__all__ = ["choose_views"]

_NEAR_M, _NEAR_RAD = 0.05, 0.1  # how well camera and board are known before the first view
_ASKED_M, _ASKED_RAD = 1.5e-4, np.deg2rad(0.02)  # of the camera; and of each offset, in rad


def choose_views(
    chain: Chain, state: State, noise: Noise, count: int, taken: Sequence[int] = ()
) -> list[int]:
    """Places of the `count` views to take next, best first.

    Args:
        chain: Candidates, with the corners that each would show.
        state: What is believed of camera, board and joints.
        noise: As for the fit; `offset_rad` and `lens` are what is known beforehand.
        count: How many are wanted.
        taken: Places of views that are there already.

    Raises:
        ConfigError: There are fewer candidates than that.
    """
    if count > len(chain.q_rad) - len(set(taken)):
        raise ConfigError(
            f"{count} views are wanted of {len(chain.q_rad) - len(set(taken))} candidates."
        )
    prior, worth = _prior_and_worth(noise, chain.q_rad.shape[1])
    free = np.flatnonzero(prior)
    told = view_information(chain, state, noise)[:, free[:, None], free]
    known = np.diag(prior[free]) + told[list(taken)].sum(0)
    chosen: list[int] = []
    for _ in range(count):
        left = np.diagonal(np.linalg.inv(known + told), axis1=-2, axis2=-1) @ worth[free]
        left[[*taken, *chosen]] = np.inf
        chosen.append(int(np.argmin(left)))
        known = known + told[chosen[-1]]
    return chosen


def _prior_and_worth(noise: Noise, joints: int) -> tuple[F64, F64]:
    """(12 + n + LENS,) inverse variances known beforehand, 0 of what is not asked; and weights."""
    offset_rad = np.full(joints, noise.offset_rad)
    offset_rad[[0, -1]] = 0.0  # no view tells these from the place of camera or board
    pose = [_NEAR_M] * 3 + [_NEAR_RAD] * 3
    std = np.concatenate([pose, pose, offset_rad, noise.lens])
    prior = np.divide(1.0, std**2, out=np.zeros_like(std), where=std > 0)
    asked = np.concatenate([[_ASKED_M] * 3, np.full(3 + 6 + joints + LENS, _ASKED_RAD)])
    worth = asked**-2
    worth[6:12], worth[12 + joints :] = 0.0, 0.0  # board and lens are asked for by nobody
    return prior, worth
