"""Makes any function a base policy: another library's model, a script, a planner.

command:   observe → **base: any function of the observation** → + residual → decode → safety
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import Observation
from robot_rl.types import F32

__all__ = ["CallablePolicy"]


class CallablePolicy:
    """`function(obs)` answers (chunk, a), or (a,) where `chunk` is 1; what it answers is checked.

    A Stable-Baselines3 model, for one: `CallablePolicy(lambda obs: model.predict(obs)[0])`.
    """

    def __init__(
        self,
        function: Callable[[Observation], ArrayLike],
        *,
        chunk: int = 1,
        action_dim: int | None = None,
        reset: Callable[[], None] | None = None,
    ) -> None:
        """Wrap `function`; `reset`, if given, is called at the start of each episode."""
        self._function = function
        self._chunk = chunk
        self._action_dim = action_dim
        self._reset = reset

    @property
    def chunk(self) -> int:
        """Actions that one plan holds; all are executed."""
        return self._chunk

    def reset(self) -> None:
        """Tell the function's owner that an episode starts."""
        if self._reset is not None:
            self._reset()

    def act(self, obs: Observation) -> F32:
        """The function's plan (chunk, a).

        Raises:
            ShapeError: The answer has another shape.
            NonFiniteError: The answer holds NaN or infinity.
        """
        plan = np.asarray(self._function(obs), np.float32)
        if plan.ndim == 1 and self._chunk == 1:
            plan = plan[None]
        width = self._action_dim or (plan.shape[-1] if plan.ndim else 0)
        if plan.shape != (self._chunk, width):
            raise ShapeError("policy function: plan", plan.shape, (self._chunk, width))
        if not np.isfinite(plan).all():
            raise NonFiniteError("policy function: plan", plan, "Mend the function.")
        return plan
