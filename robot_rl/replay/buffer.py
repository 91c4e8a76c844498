"""Transitions of whole episodes in memory, ready to be sampled as n-step or chunk transitions.

learning:  transition → episode store → progress model → **replay** → residual agent → weights

Rows of one episode lie one after another, T + 1 of them: the last row holds the last observation
and the base action there, which a time-out needs for its bootstrap. What a sample needs (return
over n steps, the row it bootstraps from, the discount) is worked out once, as an episode comes in.
"""

from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, DataError
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32, I64

__all__ = ["Batch", "TransitionBuffer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B transitions over `steps` control steps: (state, base, phase, executed) → the row after.

    Attributes:
        state, next_state: float32 (B, d), in the env's own units.
        base, next_base: float32 (B, a), the frozen base's action at either end.
        phase, next_phase: float32 (B, 1) in [0, 1), place in the base's chunk.
        executed: float32 (B, a), or (B, h, a) for a chunk; steps past the end repeat the last.
        reward: float32 (B,), sum of discounted rewards on the way.
        discount: float32 (B,), γ^k of the value at the next row; 0 after a termination.
        row, next_row: int64 (B,), where the transition starts in the buffer, and the next row.
        to_go: float32 (B,), discounted rewards from here to the end of the episode, as executed.
    """

    state: F32
    base: F32
    phase: F32
    executed: F32
    reward: F32
    discount: F32
    next_state: F32
    next_base: F32
    next_phase: F32
    row: I64
    next_row: I64
    to_go: F32


class TransitionBuffer:
    """Whole episodes in flat arrays that grow up to `capacity` rows; then it is full, not silent.

    Attributes:
        rows: Rows in use.
        state, base, phase, executed, reward: The rows, (rows, ...).
    """

    def __init__(
        self, capacity: int, *, state_dim: int, action_dim: int, n_step: int, discount: float
    ) -> None:
        if n_step < 1 or not 0 < discount <= 1:
            raise ConfigError(
                f"replay: n_step {n_step} must be >= 1, discount {discount} in (0, 1]."
            )
        self.capacity, self.n_step, self.discount = capacity, n_step, discount
        self.rows = 0
        self.state = np.zeros((capacity, state_dim), np.float32)
        self.base = np.zeros((capacity, action_dim), np.float32)
        self.phase = np.zeros((capacity, 1), np.float32)
        self.executed = np.zeros((capacity, action_dim), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self._left = np.zeros(capacity, np.int64)  # steps from this row to the episode's last row
        self._is_terminal = np.zeros(capacity, bool)  # whether the episode ended by termination
        self._to_go = np.zeros(capacity, np.float32)  # rewards still to come, discounted
        self._starts = np.zeros(capacity, np.int64)  # the rows that an action was taken in
        self.num_transitions = 0
        self._return = {}  # horizon -> (return, discount), each (capacity,)

    def add(self, episode: Trajectory, *, chunk: int) -> slice:
        """Append an episode whose base replanned every `chunk` steps; returns its rows.

        Raises:
            DataError: The buffer is full.
        """
        t = len(episode)
        if self.rows + t + 1 > self.capacity:
            raise DataError(
                f"replay: {self.rows} rows and {t + 1} more exceed the capacity of "
                f"{self.capacity}. Raise the capacity to the steps of the run."
            )
        rows = slice(self.rows, self.rows + t + 1)
        acting = slice(self.rows, self.rows + t)
        self.state[rows] = episode.obs["state"]
        self.executed[acting] = episode.executed
        self.reward[acting] = episode.reward
        self.phase[rows, 0] = (np.arange(t + 1) % chunk) / chunk
        if episode.base is not None:
            self.base[acting] = episode.base
        if episode.next_base is not None:
            self.base[rows.stop - 1] = episode.next_base
        self._left[rows] = np.arange(t, -1, -1)
        self._is_terminal[rows] = episode.terminated
        self._starts[self.num_transitions : self.num_transitions + t] = np.arange(
            acting.start, acting.stop
        )
        self.num_transitions += t
        self.rows = rows.stop
        for horizon in {self.n_step, *self._return}:
            self._sum_rewards(rows, horizon)
        self._sum_to_go(rows)
        return rows

    def correct(self, rows: slice, *, success: bool, terminated: bool) -> None:
        """Let another verdict hold of the episode in these rows, as of the next sample.

        Args:
            rows: As `add` returned them.
            success: Its only reward is a 1 at its last step if so, and none otherwise.
            terminated: Whether nothing follows its last row; False bootstraps from there.
        """
        self.reward[rows] = 0.0
        self.reward[rows.stop - 2] = float(success)
        self._is_terminal[rows] = terminated
        for horizon in self._return:
            self._sum_rewards(rows, horizon)
        self._sum_to_go(rows)

    def _sum_rewards(self, rows: slice, horizon: int) -> None:
        """Fill in the returns over at most `horizon` steps for the rows of one episode."""
        total, discount = self._return.setdefault(
            horizon, (np.zeros(self.capacity, np.float32), np.zeros(self.capacity, np.float32))
        )
        reward, left = self.reward[rows], self._left[rows]
        steps = np.minimum(horizon, left)
        padded = np.concatenate([reward, np.zeros(horizon, np.float32)])
        total[rows] = sum(self.discount**k * padded[k : k + len(reward)] for k in range(horizon))
        ends = self._is_terminal[rows] & (steps == left)
        discount[rows] = np.where(ends, 0.0, self.discount**steps)

    def _sum_to_go(self, rows: slice) -> None:
        """Fill in what was still to come at the rows of one episode."""
        total = 0.0
        for row in range(rows.stop - 1, rows.start - 1, -1):
            total = float(self.reward[row]) + self.discount * total
            self._to_go[row] = total

    def sample(self, count: int, rng: np.random.Generator, *, among: I64 | None = None) -> Batch:
        """`count` n-step transitions, uniformly with replacement, of all or of those rows.

        Raises:
            DataError: The buffer is empty.
        """
        rows = self._draw(count, rng, among)
        return self._batch(rows, self.n_step, self.executed[rows])

    def sample_chunks(
        self, count: int, length: int, rng: np.random.Generator, *, among: I64 | None = None
    ) -> Batch:
        """`count` transitions over `length` executed actions, uniformly over starting rows.

        Raises:
            DataError: The buffer is empty.
        """
        if length not in self._return:
            self._return[length] = (
                np.zeros(self.capacity, np.float32),
                np.zeros(self.capacity, np.float32),
            )
            for rows in self._episodes():
                self._sum_rewards(rows, length)
        rows = self._draw(count, rng, among)
        return self._batch(rows, length, self.chunks(rows, length))

    def chunks(self, rows: I64, length: int) -> F32:
        """The next `length` executed actions (B, length, a); past the end the last one repeats."""
        offset = np.minimum(np.arange(length), self._left[rows][:, None] - 1)
        return self.executed[rows[:, None] + np.maximum(offset, 0)]

    def _draw(self, count: int, rng: np.random.Generator, among: I64 | None) -> I64:
        if among is not None:
            return among[rng.integers(0, len(among), count)]
        if not self.num_transitions:
            raise DataError(
                "replay: nothing to sample. Add an episode of at least one step first."
            )
        return self._starts[rng.integers(0, self.num_transitions, count)]

    def _episodes(self) -> list[slice]:
        ends = np.flatnonzero(self._left[: self.rows] == 0) + 1
        starts = np.r_[0, ends][:-1]
        return [slice(a, b) for a, b in zip(starts, ends, strict=True)]

    def _batch(self, rows: I64, horizon: int, executed: F32) -> Batch:
        total, discount = self._return[horizon]
        after = rows + np.minimum(horizon, self._left[rows])
        return Batch(
            state=self.state[rows],
            base=self.base[rows],
            phase=self.phase[rows],
            executed=executed,
            reward=total[rows],
            discount=discount[rows],
            next_state=self.state[after],
            next_base=self.base[after],
            next_phase=self.phase[after],
            row=rows,
            next_row=after,
            to_go=self._to_go[rows],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything but what is worked out again on loading, for a checkpoint."""
        used = slice(0, self.rows)
        return {
            "state": self.state[used].copy(),
            "base": self.base[used].copy(),
            "phase": self.phase[used].copy(),
            "executed": self.executed[used].copy(),
            "reward": self.reward[used].copy(),
            "left": self._left[used].copy(),
            "is_terminal": self._is_terminal[used].copy(),
        }

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Become the buffer that `arrays` was taken from.

        Raises:
            DataError: The arrays do not fit this buffer.
        """
        self.rows = len(arrays["left"])
        if self.rows > self.capacity or arrays["state"].shape[1] != self.state.shape[1]:
            raise DataError(
                f"replay: {arrays['state'].shape} saved states do not fit a buffer of "
                f"{self.state.shape}. Resume with the configuration of the run."
            )
        used = slice(0, self.rows)
        for name, mine in (
            ("state", self.state),
            ("base", self.base),
            ("phase", self.phase),
            ("executed", self.executed),
            ("reward", self.reward),
            ("left", self._left),
            ("is_terminal", self._is_terminal),
        ):
            mine[used] = arrays[name]
        starts = np.flatnonzero(self._left[used] > 0)
        self.num_transitions = len(starts)
        self._starts[: len(starts)] = starts
        horizons = {self.n_step, *self._return}
        self._return = {}
        for rows in self._episodes():
            for horizon in horizons:
                self._sum_rewards(rows, horizon)
            self._sum_to_go(rows)
