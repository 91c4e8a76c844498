"""Demonstrations and own episodes side by side: one numbering of rows, batches mixed from both.

learning:  transition → episode store → progress model → **replay (mixed)** → residual agent
"""

from collections.abc import Sequence

import numpy as np

from robot_rl.replay.buffer import Batch, TransitionBuffer
from robot_rl.types import F32

__all__ = ["MixedReplay"]


class MixedReplay:
    """Two buffers; rows of `own` are numbered after all of `demos`, also in a `Batch`.

    Args:
        demos: Demonstrations; does not grow any more.
        own: What the learner does.
    """

    def __init__(self, demos: TransitionBuffer, own: TransitionBuffer) -> None:
        self.demos, self.own = demos, own
        self.first_own = demos.rows

    @property
    def rows(self) -> int:
        """Rows in use in both."""
        return self.first_own + self.own.rows

    def parts(self) -> list[tuple[int, TransitionBuffer]]:
        """Each buffer with the number of its first row."""
        return [(0, self.demos), (self.first_own, self.own)]

    def sample(
        self,
        count: int,
        demo_fraction: float,
        rng: np.random.Generator,
        *,
        chunk: int | None = None,
    ) -> Batch:
        """`count` n-step transitions, or transitions over `chunk` actions if given.

        Args:
            count: Size of the batch.
            demo_fraction: Share drawn from demonstrations, as far as there are any.
            rng: Random numbers.
            chunk: Length of the action sequences.

        Raises:
            DataError: There is nothing to sample.
        """
        from_demos = round(count * demo_fraction) if self.demos.num_transitions else 0
        if not self.own.num_transitions and self.demos.num_transitions:
            from_demos = count
        drawn = []
        shares = (from_demos, count - from_demos)
        for (first, buffer), share in zip(self.parts(), shares, strict=True):
            if share:
                if chunk is None:
                    part = buffer.sample(share, rng)
                else:
                    part = buffer.sample_chunks(share, chunk, rng)
                part.row[:] += first
                part.next_row[:] += first
                drawn.append(part)
        return _join(drawn)

    def states(self, start: int, stop: int) -> F32:
        """States (stop - start, d) of the rows numbered so."""
        return np.concatenate(
            [
                buffer.state[max(start - first, 0) : max(min(stop - first, buffer.rows), 0)]
                for first, buffer in self.parts()
            ]
        )


def _join(batches: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    if len(batches) == 1:
        return batches[0]
    names = Batch.__dataclass_fields__
    return Batch(**{k: np.concatenate([getattr(b, k) for b in batches]) for k in names})
