"""How far the residual may go: as far as what was executed allows, on each task for itself.

learning:  executed episodes → evidence → **trust** → residual agent (its scale, its pull)

A residual off the data is a guess of critics that have not seen it. On one task the guess is good
and a tight residual wastes it; on the next it destroys what worked. Nothing but execution tells
the two apart, so execution sets both of the residual's bonds, and no knob is left to a task:

    pull    ties the actor to the imitation, firmly at first; ever looser while the residual is no
            worse than the base, tighter when it is credibly worse than the best other
    scale   bounds what the actor may add; smaller at once when it is credibly worse than the base

Only episodes that the residual drives as it would be deployed are evidence: exploration noise
costs tens of points of success, and would hide a residual that is ready.
"""

from collections.abc import Sequence
from typing import Any

from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.evidence import Evidence

__all__ = ["Trust"]

_HARM = 0.1  # chance of being better below which the residual is credibly worse
_GAIN = 0.6  # and above which it is rather better than worse
_LOOSEN = 0.5  # factor on the pull at each step; tightening takes two of these steps back
_LOOSEST = 0.01  # share of the pull at the start that always stays
_EVERY = 2  # counted episodes between two steps of the pull


class Trust:
    """Sets the agent's pull and scale after each counted episode of the residual.

    Args:
        agent: Its pull now is the firmest, its scale now is where trust in it starts.
        candidates: Who may act; the first is the base.
        max_scale: Largest scale that evidence may grow to.
    """

    def __init__(
        self, agent: ActorCritic[Any], candidates: Sequence[str], *, max_scale: float
    ) -> None:
        self._agent, self._max_scale = agent, max_scale
        self._base = candidates[0]
        self._others = [name for name in candidates if name != "residual"]
        self._firmest = agent.pull
        self._pull_trials = self._scale_trials = 0  # counted episodes since each last changed
        self._patience = _EVERY  # counted episodes before the scale may grow

    def adapt(self, evidence: Evidence) -> None:
        """Loosen or tighten by what `evidence` now holds of the residual and the others."""
        above_base = evidence.chance_better("residual", self._base)
        self._adapt_pull(evidence, above_base)
        self._adapt_scale(evidence, above_base)

    def _adapt_pull(self, evidence: Evidence, above_base: float) -> None:
        """Two bars: worth exploring if better than the base, worth taming if others do better."""
        self._pull_trials += 1
        if self._pull_trials < _EVERY and above_base >= _HARM:
            return
        best = max(self._others, key=evidence.rate)
        if evidence.chance_better("residual", best) < _HARM:
            self._agent.pull = min(self._agent.pull / _LOOSEN**2, self._firmest)
        elif above_base > _GAIN:
            self._agent.pull = max(self._agent.pull * _LOOSEN, _LOOSEST * self._firmest)
        else:
            return
        self._pull_trials = 0

    def _adapt_scale(self, evidence: Evidence, above_base: float) -> None:
        """Shrink at once, grow with patience, which each set-back doubles (congestion control)."""
        self._scale_trials += 1
        if above_base < _HARM:
            self._agent.scale = max(0.7 * self._agent.scale, 0.02)
            self._patience = min(2 * self._patience, 32)
            evidence.forget("residual")
        elif self._scale_trials >= self._patience and above_base > 0.5:
            self._agent.grow(min(1.3 * self._agent.scale, self._max_scale))
        else:
            return
        self._scale_trials = 0

    def state(self) -> dict[str, float]:
        """All that `load_state` needs, JSON-able, the agent's pull and scale included."""
        return {
            "pull": float(self._agent.pull),
            "scale": float(self._agent.scale),
            "pull_trials": self._pull_trials,
            "scale_trials": self._scale_trials,
            "patience": self._patience,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._agent.pull, self._agent.scale = state["pull"], state["scale"]
        self._pull_trials, self._scale_trials = state["pull_trials"], state["scale_trials"]
        self._patience = state["patience"]
