"""Plays a chunked base policy one action a step, open loop, and says where in the chunk it is.

command:   observe → **base: plan a chunk, then pop from it** → + residual → decode → safety → send

The base plans again only when its chunk is used up. Nothing is ever popped ahead of its own
observation, so no action can outlive the episode that it was planned in.
"""

import numpy as np

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.types import F32

__all__ = ["ChunkQueue"]


class ChunkQueue:
    """The running chunk of one episode in one env.

    Call `reset` at the start of *every* episode, whether the last one terminated or timed out.
    After a time-out, call `next` once more with the last observation, before `reset`, for the base
    action that the bootstrapped target needs.
    """

    def __init__(self, policy: BasePolicy) -> None:
        self._policy = policy
        self._plan: F32 | None = None
        self._step = 0

    @property
    def policy(self) -> BasePolicy:
        """The base that plans."""
        return self._policy

    def reset(self) -> None:
        """Drop what is left of the last episode's chunk, and let the policy forget it too."""
        self._plan = None
        self._step = 0
        self._policy.reset()

    def next(self, obs: Observation) -> tuple[F32, float]:
        """The base action (a,) for this observation, and its phase in the chunk, in [0, 1).

        Raises:
            ShapeError: The policy's plan has not `chunk` rows.
            NonFiniteError: The policy planned NaN or infinity.
        """
        plan = self._plan
        if plan is None or self._step == len(plan):
            plan = self._planned(obs)
            self._plan = plan
            self._step = 0
        action, phase = plan[self._step].copy(), self._step / len(plan)
        self._step += 1
        return action, phase

    def _planned(self, obs: Observation) -> F32:
        plan = np.asarray(self._policy.act(obs), np.float32)
        if plan.ndim != 2 or len(plan) != self._policy.chunk:
            raise ShapeError("base policy: chunk", plan.shape, (self._policy.chunk, -1))
        if not np.isfinite(plan).all():
            raise NonFiniteError("base policy: chunk", plan, "Stop the policy that produced it.")
        return plan
