"""What executed episodes say about a policy: who acts next, who is deployed, how far to trust.

Every episode is driven by one candidate (the base, its imitation of own successes, the critic's
choice, the residual) and counts for it. Candidates keep learning, so old episodes fade. The next
one to act is drawn by Thompson sampling (Thompson 1933): in proportion to the probability that it
is the best, so that a worse candidate costs few episodes and a better one takes over by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Evidence", "Record"]

_DRAWS = 2_000  # of the posterior; its sampling error is far below what an episode tells

_TRIES = 100  # draws for a rival; if none of them leads, there is nothing left to find out


@dataclass
class Record:
    """A candidate's successes and failures, fading."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def trials(self) -> float:
        """Episodes that still count."""
        return self.successes + self.failures


@dataclass
class Evidence:
    """Beta posteriors over the success of each candidate.

    The first candidate is the base: it does not learn, so its episodes never fade, and the others
    start from its rate with the weight of `prior` episodes.
    """

    candidates: Sequence[str]
    memory: float = 40.0  # episodes after which one counts 1/e
    prior: float = 4.0
    hope: float = 2.0  # weight, in episodes, of the hopeful prior that `draw` takes
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start every candidate without episodes."""
        for name in self.candidates:
            self.records.setdefault(name, Record())

    def note(self, name: str, success: bool) -> None:
        """Count one executed episode."""
        record = self.records[name]
        if name != self.candidates[0]:
            fade = math.exp(-1.0 / self.memory)
            record.successes *= fade
            record.failures *= fade
        record.successes += success
        record.failures += not success

    def forget(self, name: str) -> None:
        """Start a candidate anew: it is not what it was."""
        self.records[name] = Record()

    def _beta(self, name: str) -> tuple[float, float]:
        base = self.records[self.candidates[0]]
        return self._around(name, (base.successes + 1.0) / (base.trials + 2.0), self.prior)

    def _around(self, name: str, rate: float, weight: float) -> tuple[float, float]:
        """The posterior from a prior of this rate, with the weight of so many episodes."""
        record = self.records[name]
        return record.successes + weight * rate, record.failures + weight * (1 - rate)

    def draw(self, rng: np.random.Generator) -> str:
        """The candidate that acts in the next episode.

        Those that learn are drawn from a hopeful prior, as good as the best so far: one that no
        episode has shown yet is worth a try.
        """
        best = max(map(self.rate, self.candidates))

        def chance(name: str) -> float:
            is_base = name == self.candidates[0]
            return rng.beta(
                *(self._beta(name) if is_base else self._around(name, best, self.hope))
            )

        return max(self.candidates, key=chance)

    def draw_rival(self, rng: np.random.Generator) -> str:
        """The candidate whose episode tells most about which one is best.

        Top-two Thompson sampling (Russo 2016, arXiv 1602.08448): as often the one that seems best
        as its nearest rival, for more episodes of a clear winner alone decide nothing.
        """

        def leader() -> str:
            return max(self.candidates, key=lambda name: rng.beta(*self._beta(name)))

        first = leader()
        if rng.random() < 0.5:
            return first
        for _ in range(_TRIES):
            other = leader()
            if other != first:
                return other
        return first

    def rate(self, name: str) -> float:
        """Posterior mean of a candidate's success."""
        a, b = self._beta(name)
        return a / (a + b)

    def chance_better(self, name: str, than: str) -> float:
        """Posterior probability that `name` succeeds more often than `than`."""
        rng = np.random.default_rng(0)  # the same posterior gives the same answer
        ours, theirs = (rng.beta(*self._beta(who), _DRAWS) for who in (name, than))
        return float(np.mean(ours > theirs))

    def best(self, among: Sequence[str] | None = None) -> str:
        """The candidate of the best lower bound (one deviation); the base if in doubt."""

        def lower(name: str) -> float:
            a, b = self._beta(name)
            mean = a / (a + b)
            return mean - np.sqrt(mean * (1 - mean) / (a + b + 1))

        return max(among or self.candidates, key=lower)

    def state(self) -> dict[str, list[float]]:
        """The counts, JSON-able."""
        return {name: [r.successes, r.failures] for name, r in self.records.items()}

    def load_state(self, state: Mapping[str, Sequence[float]]) -> None:
        """Take over counts from `state`."""
        self.records = {name: Record(*counts) for name, counts in state.items()}
