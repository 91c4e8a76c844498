"""One SAC or TD3 update as peers do it: plain torch in CleanRL's style, and Stable-Baselines3."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
import torch.nn.functional as F
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn
from update_task import ACT, BATCH, CAPACITY, GAMMA, LOG_STD_RANGE, LR, OBS, TAU, Buffer, Row


def mlp(sizes: tuple[int, ...], layer_norm: bool) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i, o in pairwise(sizes[:-1]):
        parts += [nn.Linear(i, o), *([nn.LayerNorm(o)] if layer_norm else []), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(*sizes[-2:]))


class PlainTD3:
    """TD3 as CleanRL writes it: one module a critic, autograd, torch.optim.Adam."""

    actor_out = ACT

    def __init__(self, row: Row) -> None:
        def critics() -> nn.ModuleList:
            sizes = (OBS + ACT, *row.hidden, 1)
            return nn.ModuleList(mlp(sizes, row.layer_norm) for _ in range(row.critics))

        def actor() -> nn.Sequential:
            return mlp((OBS, *row.hidden, self.actor_out), row.layer_norm)

        self.critics, self.critic_targets, self.actor, self.actor_target = (
            critics(),
            critics(),
            actor(),
            actor(),
        )
        self.critic_targets.load_state_dict(self.critics.state_dict())
        self.actor_target.load_state_dict(self.actor.state_dict())
        self.critic_adam = torch.optim.Adam(self.critics.parameters(), lr=LR)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), lr=LR)
        self.buffer = Buffer()
        self.updates = 0

    def update(self) -> None:
        obs, action, reward, alive, next_obs = self.buffer.sample()
        with torch.no_grad():
            next_action = torch.tanh(self.actor_target(next_obs))
            noise = (torch.randn_like(next_action) * 0.2).clamp(-0.5, 0.5)
            next_action = (next_action + noise).clamp(-1, 1)
        self.update_critics(obs, action, next_obs, next_action, reward, alive)
        self.updates += 1
        if self.updates % 2 == 0:
            x = torch.cat((obs, torch.tanh(self.actor(obs))), 1)
            self.descend(self.actor_adam, -self.critics[0](x).mean())
            self.follow(self.critics, self.critic_targets)
            self.follow(self.actor, self.actor_target)

    def update_critics(
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor,
        next_action: Tensor,
        reward: Tensor,
        alive: Tensor,
        next_log_prob: Tensor | float = 0.0,
    ) -> None:
        with torch.no_grad():
            x = torch.cat((next_obs, next_action), 1)
            least = torch.stack([q(x) for q in self.critic_targets]).amin(0)
            target = reward + alive * GAMMA * (least - next_log_prob)
        x = torch.cat((obs, action), 1)
        loss = sum(F.mse_loss(q(x), target) for q in self.critics)
        assert isinstance(loss, Tensor)
        self.descend(self.critic_adam, loss)

    @staticmethod
    def descend(adam: torch.optim.Adam, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    @staticmethod
    def follow(online: nn.Module, target: nn.Module) -> None:
        for p, t in zip(online.parameters(), target.parameters(), strict=True):
            t.data.copy_(TAU * p.data + (1 - TAU) * t.data)


class PlainSAC(PlainTD3):
    """SAC as CleanRL writes it."""

    actor_out = 2 * ACT

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.alpha_adam = torch.optim.Adam([self.log_alpha], lr=LR)

    def sample_action(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(obs).split(ACT, 1)
        normal = torch.distributions.Normal(mean, log_std.clamp(*LOG_STD_RANGE).exp())
        x = normal.rsample()
        action = torch.tanh(x)
        log_prob = normal.log_prob(x) - torch.log(1 - action.pow(2) + 1e-6)
        return action, log_prob.sum(1, keepdim=True)

    def update(self) -> None:
        obs, action, reward, alive, next_obs = self.buffer.sample()
        alpha = self.log_alpha.exp().item()
        with torch.no_grad():
            next_action, log_prob = self.sample_action(next_obs)
        self.update_critics(obs, action, next_obs, next_action, reward, alive, alpha * log_prob)
        pi, log_prob = self.sample_action(obs)
        x = torch.cat((obs, pi), 1)
        least = torch.stack([q(x) for q in self.critics]).amin(0)
        self.descend(self.actor_adam, (alpha * log_prob - least).mean())
        self.descend(self.alpha_adam, (-self.log_alpha.exp() * (log_prob.detach() - ACT)).mean())
        self.follow(self.critics, self.critic_targets)


class Blank(gym.Env):
    """Spaces of the right shape for Stable-Baselines3; never stepped."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACT,), np.float32)

    def reset(self, **kwargs: object) -> tuple[np.ndarray, dict[str, object]]:
        return np.zeros(OBS, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return np.zeros(OBS, np.float32), 0.0, False, False, {}


class Sb3:
    """Stable-Baselines3's own `train`; it has no layer normalisation, so it runs without."""

    def __init__(self, algorithm: str, row: Row) -> None:
        arch = {"pi": list(row.hidden), "qf": list(row.hidden)}
        self.model = getattr(stable_baselines3, algorithm)(
            "MlpPolicy",
            Blank(),
            learning_rate=LR,
            buffer_size=CAPACITY,
            policy_kwargs={"net_arch": arch, "n_critics": row.critics},
            device="cpu",
        )
        self.model.set_logger(Logger(None, []))
        fill(self.model.replay_buffer)

    def updates(self, count: int) -> None:
        self.model.train(gradient_steps=count, batch_size=BATCH)


def fill(buffer: ReplayBuffer) -> None:
    """Random transitions into a replay buffer of Stable-Baselines3."""
    rng = np.random.default_rng(0)
    for array in (buffer.observations, buffer.next_observations, buffer.rewards):
        array[:] = rng.normal(size=array.shape)
    buffer.actions[:] = rng.uniform(-1, 1, size=buffer.actions.shape)
    buffer.full = True
