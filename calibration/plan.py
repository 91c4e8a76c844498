"""Which views to take: the few of many candidates that tell most about camera and joints.

Greedy and D-optimal: each next view is the one that adds most to the log-determinant of what is
known. Ref: Fedorov 1972, "Theory of Optimal Experiments"; greedy choice is within 1 - 1/e of the
best for this submodular measure (Nemhauser et al. 1978).
"""

from collections.abc import Sequence

import numpy as np

from calibration.chain import Chain, Noise, State, view_information
from robot_rl.errors import ConfigError

__all__ = ["choose_views"]

_NEAR_M, _NEAR_RAD = 0.05, 0.1  # how well camera and board are known before the first view


def choose_views(
    chain: Chain, state: State, noise: Noise, count: int, taken: Sequence[int] = ()
) -> list[int]:
    """Places of the `count` views to take next, best first.

    Args:
        chain: Candidates, with the corners that each would show.
        state: What is believed of camera, board and joints.
        noise: As for the fit; `offset_rad` is what is known of the joints beforehand.
        count: How many are wanted.
        taken: Places of views that are there already.

    Raises:
        ConfigError: There are fewer candidates than that.
    """
    if count > len(chain.q_rad) - len(set(taken)):
        raise ConfigError(
            f"{count} views are wanted of {len(chain.q_rad) - len(set(taken))} candidates."
        )
    told = view_information(chain, state, noise)
    n = chain.q_rad.shape[1]
    prior = (
        np.r_[np.tile([_NEAR_M] * 3 + [_NEAR_RAD] * 3, 2), np.full(n, noise.offset_rad)] ** -2.0
    )
    known = np.diag(prior) + told[list(taken)].sum(0)
    chosen: list[int] = []
    for _ in range(count):
        gain = np.linalg.slogdet(known + told)[1]
        gain[[*taken, *chosen]] = -np.inf
        chosen.append(int(np.argmax(gain)))
        known = known + told[chosen[-1]]
    return chosen
