"""Demonstrations, prior and own episodes: one numbering of rows, batches mixed from all.

learning:  transition → episode store → progress model → **replay (mixed)** → residual agent
"""

from collections.abc import Sequence

import numpy as np

from robot_rl.replay.buffer import Batch, TransitionBuffer
from robot_rl.types import F32

__all__ = ["MixedReplay"]


class MixedReplay:
    """Two or three buffers; rows are numbered through demos, prior, own, also in a `Batch`.

    Args:
        demos: Demonstrations; does not grow any more.
        own: What the learner does.
        prior: What was done elsewhere, such as in a twin; does not grow either.
        prior_share: Share of `prior` in what is not drawn from demonstrations.

    Attributes:
        worked: Starting rows in `own` that are drawn beside demonstrations, as if they were some.
    """

    def __init__(
        self,
        demos: TransitionBuffer,
        own: TransitionBuffer,
        prior: TransitionBuffer | None = None,
        prior_share: float = 0.5,
    ) -> None:
        self.demos, self.own, self.prior = demos, own, prior
        self.prior_share = prior_share
        self.first_own = demos.rows + (0 if prior is None else prior.rows)
        self.worked = np.zeros(0, np.int64)

    @property
    def rows(self) -> int:
        """Rows in use in all of them."""
        return self.first_own + self.own.rows

    def parts(self) -> list[tuple[int, TransitionBuffer]]:
        """Each buffer with the number of its first row."""
        middle = [] if self.prior is None else [(self.demos.rows, self.prior)]
        return [(0, self.demos), *middle, (self.first_own, self.own)]

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
            demo_fraction: Share drawn from demonstrations and from what worked, in proportion to
                their lengths, as far as there are any.
            rng: Random numbers.
            chunk: Length of the action sequences.

        Raises:
            DataError: There is nothing to sample.
        """
        shares = self._shares(count, demo_fraction)
        worked = 0
        if len(self.worked) and shares[0]:
            total = len(self.worked) + self.demos.num_transitions
            worked = int(rng.binomial(shares[0], len(self.worked) / total))
            shares[0] -= worked
        sources = [(*part, share, None) for part, share in zip(self.parts(), shares, strict=True)]
        drawn = []
        for first, buffer, share, among in [*sources, (*self.parts()[-1], worked, self.worked)]:
            if share:
                if chunk is None:
                    part = buffer.sample(share, rng, among=among)
                else:
                    part = buffer.sample_chunks(share, chunk, rng, among=among)
                part.row[:] += first
                part.next_row[:] += first
                drawn.append(part)
        return _join(drawn)

    def _shares(self, count: int, demo_fraction: float) -> list[int]:
        """How many of a batch come from each part; one that is empty leaves its share."""
        has_demos, has_own = self.demos.num_transitions > 0, self.own.num_transitions > 0
        has_prior = self.prior is not None and self.prior.num_transitions > 0
        from_demos = round(count * demo_fraction) if has_demos else 0
        if has_demos and not (has_own or has_prior):
            from_demos = count
        if self.prior is None:
            return [from_demos, count - from_demos]
        rest = count - from_demos
        from_prior = round(rest * self.prior_share) if has_own else rest
        from_prior = from_prior if has_prior else 0
        return [from_demos, from_prior, rest - from_prior]

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
