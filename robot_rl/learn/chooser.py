"""A critic of whole chunks that chooses among proposals: it never has to invent an action.

learning:  replay → **chunk critic** → which of the ensemble's proposals to try

Q-learning over chunks as in Q-chunking (Li et al. 2025, arXiv 2507.07969), with proposals of a
behavior-cloned ensemble as the only candidates, in acting and in the target alike (`Proposer`). An
error of the critic costs a choice among sensible chunks, and no more.
"""

from dataclasses import dataclass

import numpy as np
import torch

from robot_rl.errors import ConfigError
from robot_rl.policy.chosen import ChosenPolicy, ChunkCritic, Proposer
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.buffer import Batch
from robot_rl.types import F32

__all__ = ["Chooser", "ChooserCfg"]


@dataclass(frozen=True, kw_only=True)
class ChooserCfg:
    """The chunk critic."""

    critics: int = 5
    """Networks in the ensemble."""
    width: int = 128
    """Hidden width (two hidden layers)."""
    lr: float = 3e-4
    """Learning rate."""
    tau: float = 0.01
    """Share by which the target follows at each update."""
    proposals: int = 8
    """Proposals to choose among: the mean of all members, and of random halves of them."""
    explore: float = 0.1
    """Share of chunks that a random proposal fills."""

    def __post_init__(self) -> None:
        """Refuse an ensemble too small for a subset of two."""
        if self.critics < 2 or self.proposals < 1 or not 0 <= self.explore <= 1:
            raise ConfigError(
                f"chooser: critics {self.critics} must be >= 2, proposals {self.proposals} >= 1, "
                f"explore {self.explore} in [0, 1]."
            )


class Chooser(ChunkCritic):
    """Q(state, chunk) by an ensemble, bootstrapped from the best proposal at the next state.

    Attributes:
        bounds: Smallest and largest value that the reward allows.
    """

    bounds: tuple[float, float] = (-np.inf, np.inf)

    def __init__(self, cfg: ChooserCfg, norm: Normaliser, *, chunk: int, seed: int) -> None:
        super().__init__(norm, chunk=chunk, critics=cfg.critics, width=cfg.width, seed=seed)
        self.cfg = cfg
        self.proposer = Proposer(cfg.proposals)
        self.target = self.critic.clone()
        self.rng = np.random.default_rng((seed, 5))

    def policy(self, ensemble: ChunkEnsemble, *, every: int, explore: bool) -> ChosenPolicy:
        """Acts by the proposals that this critic chooses, anew after `every` actions."""
        share = self.cfg.explore if explore else 0.0
        return ChosenPolicy(
            ensemble, self, self.proposer, every=every, explore=share, rng=self.rng
        )

    def update(self, batch: Batch, proposals: F32) -> dict[str, float]:
        """One step on chunk transitions; `proposals` (B, K, chunk, a) are at the next row."""
        count, members = proposals.shape[:2]
        states = np.repeat(batch.next_state, members, 0)
        x = self._input(states, proposals.reshape(count * members, self.chunk, -1))
        two = self.rng.choice(self.cfg.critics, 2, replace=False).tolist()
        best = self.target.forward(x, members=two).amin(0).view(count, members).amax(1).numpy()
        y = np.clip(batch.reward + batch.discount * best, *self.bounds).astype(np.float32)
        q = self.critic.forward(self._input(batch.state, batch.executed), keep=True)
        error = q - torch.from_numpy(y)[None, :, None]
        self.critic.backward(error * (2.0 / count))
        self.critic.step(self.cfg.lr, max_norm=1.0)
        self.target.follow(self.critic, self.cfg.tau)
        return {"chunk_td_error": float(error.square().mean()), "chunk_q": float(q.mean())}
