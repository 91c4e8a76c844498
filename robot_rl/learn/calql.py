"""Critics that learn from a fixed set of data, and are ready to learn on from their own.

learning:  demonstrations, prior episodes → replay → **Cal-QL: critic ensemble, actor** → weights

Calibrated conservative Q-learning (Cal-QL, Nakamoto et al. 2023, arXiv 2303.05479) on CQL(H)
(Kumar et al. 2020, arXiv 2006.04779, eq. 4). Offline nobody contradicts a critic that overrates
what was never tried, and an actor finds such actions at once. CQL pushes the values of tried and
untried actions apart; left alone it pushes the policy's values below anything real, and the first
steps online are spent on lifting them again. Calibrated, it pushes no value of a policy's action
below what the data's own behaviour has earned from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robot_rl.errors import ConfigError
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.replay.buffer import Batch

__all__ = ["CalQL", "CalQLCfg"]


@dataclass(frozen=True, kw_only=True)
class CalQLCfg:
    """The conservative term beside the critics' squared error."""

    weight: float = 0.1
    """Weight of the term, against values in [0, 1]; 0 leaves it out."""
    temperature: float = 0.1
    """Values are compared in units of this: a tenth of a success is a difference."""
    actions: int = 4
    """Random residuals, and as many of the policy, that values are compared at in each row."""
    calibrated: bool = True
    """Push no policy's value below the return of the data; off, the term is plain CQL."""

    def __post_init__(self) -> None:
        """Refuse a term that pushes nothing, or the wrong way."""
        if self.weight < 0 or self.temperature <= 0 or self.actions < 1:
            raise ConfigError(
                f"calql: weight {self.weight} must be >= 0, temperature {self.temperature} > 0, "
                f"actions {self.actions} >= 1."
            )


class CalQL:
    """Give it to an agent as its `conservatism`.

    The term is, with the data's return to go V(s) and N residuals from each of two proposals p,

        w · mean over rows of [ T log Σ exp(max(Q(s, a), V(s)) / T) / 2N p(a)  -  Q(s, a_data) ]

    where the maximum is taken at the policy's own actions only. Random residuals are uniform in
    the box that a residual may fill: where it cannot go, nobody need be humble.
    """

    def __init__(self, cfg: CalQLCfg, *, seed: int) -> None:
        self.cfg, self._seed = cfg, seed

    def gather(self, agent: ActorCritic[Any], batch: Batch) -> Mapping[str, float]:
        """Add the term's gradient to that of the agent's critics; returns what it sees.

        `dataset_q` and `policy_q` are mean values of executed and of the policy's actions,
        `regulariser` is the term without its weight, `bound_rate` the share of policy's actions
        whose value stands below the data's return, `return` the mean of that return.
        """
        cfg, rows, dim = self.cfg, len(batch.state), agent.norm.action_dim
        count = cfg.actions
        # Drawn from the count of updates, so that a checkpoint need not know of it.
        rng = np.random.default_rng((self._seed, 11, agent.updates))
        wild = rng.uniform(-1, 1, (count, rows, dim)).astype(np.float32)
        drawn = [agent.sample(batch) for _ in range(count)]
        tried = torch.cat(
            [
                agent.at_executed(batch),
                agent.at(batch, np.concatenate([wild, np.stack([unit for unit, _ in drawn])])),
            ]
        )
        q = agent.critic.forward(tried, keep=True).view(-1, 1 + 2 * count, rows)
        data, policy = q[:, 0], q[:, 1 + count :]
        floor = torch.from_numpy(batch.to_go)
        is_below = (policy < floor) if cfg.calibrated else torch.zeros_like(policy).bool()
        values = torch.cat([q[:, 1 : 1 + count], torch.where(is_below, floor, policy)], 1)
        density = np.concatenate(
            [np.full((count, rows), -dim * np.log(2.0)), np.stack([log for _, log in drawn])]
        )
        weighed = values / cfg.temperature - torch.from_numpy(density.astype(np.float32))
        soft = cfg.temperature * (torch.logsumexp(weighed, 1) - np.log(2 * count))
        slope = torch.empty_like(q)
        slope[:, 0] = -1.0
        slope[:, 1:] = weighed.softmax(1)
        slope[:, 1 + count :] *= ~is_below  # a value that stands at its floor is not pushed
        agent.critic.backward((slope * (cfg.weight / rows)).view(*q.shape[:1], -1, 1))
        below = (policy < floor).float().mean()
        return {
            "dataset_q": float(data.mean()),
            "policy_q": float(policy.mean()),
            "regulariser": float((soft - data).mean()),
            "bound_rate": float(below),
            "return": float(batch.to_go.mean()),
        }
