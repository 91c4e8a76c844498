"""Random transitions, and the scaling of the states and actions that they hold."""

from dataclasses import replace

import numpy as np

from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.buffer import Batch

DIM, ACTION = 3, 2


def normaliser(half=1.0):
    """Of normal states, and of actions within `half` of zero."""
    rng = np.random.default_rng(0)
    span = np.array([[-half] * ACTION, [half] * ACTION], np.float32)
    return Normaliser.fit(rng.standard_normal((100, DIM)).astype(np.float32), span)


def batch(count=16, seed=0, **changes):
    """Transitions that have nothing to do with each other, none of them rewarded."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    return replace(
        Batch(
            state=normal(count, DIM),
            base=np.clip(normal(count, ACTION), -1, 1),
            phase=rng.random((count, 1), np.float32),
            executed=np.clip(normal(count, ACTION), -1, 1),
            reward=np.zeros(count, np.float32),
            discount=np.full(count, 0.97, np.float32),
            next_state=normal(count, DIM),
            next_base=np.clip(normal(count, ACTION), -1, 1),
            next_phase=rng.random((count, 1), np.float32),
            row=np.zeros(count, np.int64),
            next_row=np.zeros(count, np.int64),
            to_go=np.zeros(count, np.float32),
        ),
        **changes,
    )
