"""What worked is imitated: an ensemble fitted again and again on demonstrations and own successes.

learning:  replay → **own successes → behavior cloning** → proposals, and what the residual is on

The cheapest gain there is, and one that cannot fall far: every action it learns has led to a
success. It also plans more often than the base: with more data, feedback is worth more than
commitment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.chosen import Proposer
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.replanned import Replanned
from robot_rl.policy.saved import Arrays, under
from robot_rl.replay.buffer import TransitionBuffer
from robot_rl.replay.mixing import MixedReplay
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32, I64

__all__ = ["Imitation"]

# Rows planned in one forward, always so many and always from a multiple of it: products round
# differently in other sizes, and a resumed run, which plans all rows anew, must plan the same.
_BLOCK = 64


class Imitation:
    """The ensemble, the policy that acts by it, and what it proposes at every row of the replay.

    Attributes:
        ensemble: The networks as last fitted.
        anchor: The fit that the residual is added to: the last one, or one from before.
        refreshes: Fits so far, not counting the first.
    """

    def __init__(self, cfg: BCCfg, ensemble: ChunkEnsemble, *, every: int, seed: int) -> None:
        self._cfg, self._every, self._seed = cfg, every, seed
        self.ensemble = self.anchor = ensemble
        self.refreshes = 0
        self._plans: F32 | None = None  # (rows, K, chunk, a)

    @classmethod
    def start(
        cls,
        cfg: BCCfg,
        base: BasePolicy,
        demos: Sequence[Trajectory],
        *,
        every: int,
        seed: int,
    ) -> "Imitation":
        """The base itself if it is an ensemble, else one fitted on the demonstrations.

        Raises:
            ConfigError: The base is no ensemble, and there are no demonstrations.
        """
        cfg = replace(cfg, kind="mlp", chunk=base.chunk)
        if isinstance(base, ChunkEnsemble):
            hidden = base.config()["hidden"]
            size = {"members": base.members, "width": hidden[0], "layers": len(hidden)}
            return cls(replace(cfg, **size), base, every=every, seed=seed)
        if not demos:
            raise ConfigError(
                "imitation and chosen need demonstrations, or a base of kind 'mlp'. Give some, or "
                "leave them out: candidates base, residual."
            )
        return cls(cfg, _fitted(cfg, demos, seed=seed, init=None), every=every, seed=seed)

    @property
    def policy(self) -> Replanned:
        """Acts by the mean of the members as last fitted."""
        return Replanned(self.ensemble, self._every)

    @property
    def anchor_policy(self) -> Replanned:
        """What the residual is added to."""
        return Replanned(self.anchor, self._every)

    def refresh(self, demos: Sequence[Trajectory], successes: Sequence[Trajectory]) -> None:
        """Fit again, from where the ensemble is; plans are then out of date, the anchor stays."""
        self.refreshes += 1
        self.ensemble = _fitted(
            self._cfg,
            [*demos, *successes],
            seed=self._seed + self.refreshes,
            init=self.ensemble,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the newest fit and, where that is another one, of the anchor."""
        fits = {"imitation": self.ensemble}
        if self.anchor is not self.ensemble:
            fits["anchor"] = self.anchor
        return {f"{fit}.{key}": v for fit, own in fits.items() for key, v in own.arrays().items()}

    def load(self, config: Mapping[str, Any], arrays: Arrays) -> None:
        """Continue with the fits of this `config` whose `arrays` these are, among others.

        Raises:
            CheckpointError: They are of another configuration.
        """
        self.ensemble = self.anchor = ChunkEnsemble.restore(config, under("imitation.", arrays))
        kept = under("anchor.", arrays)
        if kept:
            self.anchor = ChunkEnsemble.restore(config, kept)

    # What is kept for every row ---------------------------------------------------------------

    def plan(self, replay: MixedReplay, proposer: Proposer, start: int, stop: int) -> None:
        """Work out the proposals at the rows numbered `start` to `stop`, for targets."""
        for low in range(start - start % _BLOCK, stop, _BLOCK):
            high = min(low + _BLOCK, stop)
            states = replay.states(low, high)
            block = np.zeros((_BLOCK, states.shape[1]), np.float32)
            block[: high - low] = states
            plans = self.ensemble.propose_batch(block)
            made = proposer.propose(plans)[:, : high - low]
            capacity = replay.first_own + replay.own.capacity
            if self._plans is None or len(self._plans) < capacity:
                self._plans = np.zeros((capacity, len(made), *made.shape[2:]), np.float32)
            self._plans[low:high] = made.swapaxes(0, 1)

    def proposals(self, rows: I64) -> F32:
        """The proposals (B, K, chunk, a) at these rows, as last planned."""
        assert self._plans is not None  # `plan` comes first
        return self._plans[rows]

    def rebase(self, buffer: TransitionBuffer) -> None:
        """Write what the anchor does at every row in place of what the one before did."""
        anchor, used = self.anchor_policy, slice(0, buffer.rows)
        place = np.rint(buffer.phase[used, 0] * anchor.chunk).astype(int)
        starts = np.flatnonzero(place == 0)
        if len(starts):
            plans = anchor.act_batch(buffer.state[starts])
            which = np.searchsorted(starts, np.arange(buffer.rows) - place)
            buffer.base[used] = plans[which, place]


def _fitted(
    cfg: BCCfg, episodes: Sequence[Trajectory], *, seed: int, init: ChunkEnsemble | None
) -> ChunkEnsemble:
    policy = fit(cfg, episodes, seed=seed, init=init)
    assert isinstance(policy, ChunkEnsemble)  # kind "mlp"
    return policy
