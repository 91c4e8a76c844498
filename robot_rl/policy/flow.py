"""A generative base: many different chunks for one observation, all like demonstrated ones.

command:   camera, arm → observe → **base: noise flows to a chunk** → + residual → decode → safety

Flow matching (Lipman et al. 2023, arXiv 2210.02747) with straight paths: a network learns the
velocity that carries noise at time 0 to a demonstrated chunk at time 1, and a few Euler steps
follow it. Every sample stays on the support of the demonstrations: candidates for best-of-N.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import ConfigError
from robot_rl.policy.base import Observation
from robot_rl.policy.encoders import PatchEncoder
from robot_rl.policy.module_policy import ModulePolicy
from robot_rl.types import F32

__all__ = ["FlowCfg", "FlowPolicy"]

_TIME_FEATURES = 32
_PATCH_WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class FlowCfg:
    """Sizes of the velocity network, and how a chunk is drawn."""

    chunk: int = 8
    """Actions in a plan."""
    width: int = 256
    """Hidden width."""
    layers: int = 3
    """Residual hidden layers."""
    euler_steps: int = 8
    """Steps from noise to chunk."""
    proposals: int = 8
    """Chunks that `propose` answers with, from noise that is fixed once."""
    cameras: tuple[tuple[str, int, int], ...] = ()
    """Name, height and width in pixels of each camera that is looked at."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name in ("chunk", "width", "layers", "euler_steps", "proposals"):
            if getattr(self, name) < 1:
                raise ConfigError(f"flow: {name} is {getattr(self, name)}, but must be >= 1.")


class _Velocity(nn.Module):
    """Velocity (B, chunk * a) of a noisy chunk at a time, given what was observed."""

    def __init__(self, cfg: FlowCfg, state_dim: int, plan_dim: int, noise: Tensor) -> None:
        super().__init__()
        self.eyes = nn.ModuleDict({n: PatchEncoder(h, w, _PATCH_WIDTH) for n, h, w in cfg.cameras})
        seen = state_dim + _PATCH_WIDTH * len(cfg.cameras)
        self.observed = nn.Linear(seen, cfg.width)
        self.noisy = nn.Linear(plan_dim + _TIME_FEATURES, cfg.width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(cfg.width), nn.Linear(cfg.width, cfg.width), nn.SiLU())
            for _ in range(cfg.layers)
        )
        self.head = nn.Linear(cfg.width, plan_dim)
        frequencies = torch.exp(torch.linspace(0, math.log(100), _TIME_FEATURES // 2))
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("noise", noise)  # (proposals, plan_dim), part of the policy

    def look(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Features (B, width) of what was observed, the same for every time and noise."""
        seen = [state, *(eye(images[name]).mean(1) for name, eye in self.eyes.items())]
        return self.observed(torch.cat(seen, 1))

    def forward(self, seen: Tensor, plan: Tensor, time: Tensor) -> Tensor:
        """Velocity (B, plan_dim) at features (B, width), plan (B, plan_dim), time (B, 1)."""
        phase = time * self.get_buffer("frequencies")
        hidden = self.noisy(torch.cat([plan, torch.sin(phase), torch.cos(phase)], 1)) + seen
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.head(hidden)


class FlowPolicy(ModulePolicy[FlowCfg, _Velocity]):
    """Chunks by flow matching. `act` starts from no noise: repeatable, and near the middle."""

    kind: ClassVar[str] = "flow"
    cfg_type: ClassVar[type[FlowCfg]] = FlowCfg

    def _module(self, seed: int) -> _Velocity:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.cfg.proposals, self._plan_dim, generator=generator)
        return _Velocity(self.cfg, self.norm.state_dim, self._plan_dim, noise)

    def act(self, obs: Observation) -> F32:
        """The plan (chunk, a) that flows from zero noise; see `sample` for what it raises."""
        return self._flow(obs, torch.zeros(1, self._plan_dim))[0]

    def propose(self, obs: Observation) -> F32:
        """Plans (proposals, chunk, a) from the policy's fixed noise; see `sample`."""
        return self._flow(obs, self.net.get_buffer("noise"))

    def sample(self, obs: Observation, n: int, rng: np.random.Generator) -> F32:
        """Draw `n` plans, (n, chunk, a).

        Raises:
            ShapeError: The observation is not what the policy was trained on.
            UnknownNameError: The observation lacks a camera.
            NonFiniteError: The observation or a plan holds NaN or infinity.
        """
        noise = rng.standard_normal((n, self._plan_dim), dtype=np.float32)
        return self._flow(obs, torch.from_numpy(noise))

    @property
    def _plan_dim(self) -> int:
        return self.cfg.chunk * self.norm.action_dim

    @torch.no_grad()
    def _flow(self, obs: Observation, plan: Tensor) -> F32:
        """Follow the velocity from noise (n, plan_dim) to plans (n, chunk, a)."""
        state, images = self._look(obs)
        seen = self.net.look(state, images).expand(len(plan), -1)
        for step in range(self.cfg.euler_steps):
            time = plan.new_full((len(plan), 1), step / self.cfg.euler_steps)
            plan = plan + self.net(seen, plan, time) / self.cfg.euler_steps
        return self._plans(plan.reshape(len(plan), self.cfg.chunk, -1).numpy())

    def loss(
        self,
        state: Tensor,
        images: Mapping[str, Tensor],
        unit: Tensor,
        mask: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Squared error of the velocity at a random time on the way to unit chunks (B, chunk, a).

        Repeated actions behind the end of an episode count too: all of a chunk must be drawn.
        """
        goal = unit.flatten(1)
        start = torch.randn(goal.shape, generator=generator).to(goal.device)
        time = torch.rand(len(goal), 1, generator=generator).to(goal.device)
        velocity = self.net(self.net.look(state, images), start.lerp(goal, time), time)
        return (velocity - (goal - start)).square().mean()
