"""ACT: a transformer that reads state and cameras as tokens and answers with a chunk.

command:   camera, arm → observe → **base: action chunking transformer** → + residual → decode

Zhao et al. 2023 (arXiv 2304.13705), in a size that a CPU trains on few demonstrations: pre-norm,
no dropout, and the variational style latent optional (off: a residual wants a repeatable base).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robot_rl.errors import ConfigError
from robot_rl.policy.base import Observation
from robot_rl.policy.encoders import PatchEncoder
from robot_rl.policy.module_policy import ModulePolicy
from robot_rl.types import F32

__all__ = ["ACTCfg", "ACTPolicy"]


@dataclass(frozen=True, kw_only=True)
class ACTCfg:
    """Sizes of the transformer."""

    chunk: int = 8
    """Actions in a plan."""
    width: int = 64
    """Size of a token."""
    heads: int = 4
    """Attention heads; they share the width."""
    encoder_layers: int = 2
    """Blocks that read the observation."""
    decoder_layers: int = 1
    """Blocks that write the chunk."""
    latent: int = 0
    """Size of the style latent; 0 is no variational encoder."""
    kl_weight: float = 10.0
    """Weight of the latent's divergence from a standard normal in the loss."""
    cameras: tuple[tuple[str, int, int], ...] = ()
    """Name, height and width in pixels of each camera that is looked at."""

    def __post_init__(self) -> None:
        """Refuse sizes that no transformer can have."""
        if self.width % self.heads:
            raise ConfigError(f"ACT: width {self.width} must be a multiple of heads {self.heads}.")


class _Transformer(nn.Module):
    """Tokens of state, style and cameras → encoder → one query a step → unit actions."""

    def __init__(self, cfg: ACTCfg, state_dim: int, action_dim: int) -> None:
        super().__init__()
        width = cfg.width
        self.cfg = cfg
        self.state = nn.Linear(state_dim, width)
        self.eyes = nn.ModuleDict({n: PatchEncoder(h, w, width) for n, h, w in cfg.cameras})
        # One learned offset for each source of tokens: state, style, then the cameras.
        self.source = nn.Parameter(torch.randn(2 + len(cfg.cameras), width) * 0.02)
        self.query = nn.Parameter(torch.randn(1, cfg.chunk, width) * 0.02)
        sizes = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, cfg.heads, 4 * width, **sizes),
            cfg.encoder_layers,
            nn.LayerNorm(width),
            enable_nested_tensor=False,
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, cfg.heads, 4 * width, **sizes),
            cfg.decoder_layers,
            nn.LayerNorm(width),
        )
        self.head = nn.Linear(width, action_dim)
        if cfg.latent:
            self.style_in = nn.Linear(state_dim + cfg.chunk * action_dim, width)
            self.style_out = nn.Linear(width, 2 * cfg.latent)
            self.style_token = nn.Linear(cfg.latent, width)

    def style(self, state: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latent) of the style of demonstrated chunks (B, chunk, a)."""
        hidden = torch.relu(self.style_in(torch.cat([state, unit.flatten(1)], 1)))
        mean, log_variance = self.style_out(hidden).chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)

    def forward(self, state: Tensor, images: Mapping[str, Tensor], latent: Tensor) -> Tensor:
        """Unit actions (B, chunk, a) for z-scored states (B, d) and style (B, latent)."""
        tokens = [(self.state(state) + self.source[0])[:, None]]
        if self.cfg.latent:
            tokens.append((self.style_token(latent) + self.source[1])[:, None])
        for k, (name, eye) in enumerate(self.eyes.items()):
            tokens.append(eye(images[name]) + self.source[2 + k])
        memory = self.encoder(torch.cat(tokens, 1))
        return self.head(self.decoder(self.query.expand(len(state), -1, -1), memory))


class ACTPolicy(ModulePolicy[ACTCfg, _Transformer]):
    """A chunk from one look at state and cameras; the same observation gives the same chunk."""

    kind: ClassVar[str] = "act"
    cfg_type: ClassVar[type[ACTCfg]] = ACTCfg

    def _module(self, seed: int) -> _Transformer:
        return _Transformer(self.cfg, self.norm.state_dim, self.norm.action_dim)

    @torch.no_grad()
    def act(self, obs: Observation) -> F32:
        """The plan (chunk, a), with the style of a standard normal's mean.

        Raises:
            ShapeError: The observation is not what the policy was trained on.
            UnknownNameError: The observation lacks a camera.
            NonFiniteError: The observation or the plan holds NaN or infinity.
        """
        state, images = self._look(obs)
        return self._plans(self.net(state, images, state.new_zeros(1, self.cfg.latent))[0].numpy())

    def loss(
        self,
        state: Tensor,
        images: Mapping[str, Tensor],
        unit: Tensor,
        mask: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Mean absolute error of unit chunks (B, chunk, a) under mask (B, chunk), plus the KL."""
        latent = state.new_zeros(len(state), self.cfg.latent)
        divergence = state.new_zeros(())
        if self.cfg.latent:
            mean, log_variance = self.net.style(state, unit * mask[:, :, None])
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            latent = mean + noise * torch.exp(0.5 * log_variance)
            divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        off = (self.net(state, images, latent) - unit).abs().mean(2)
        return (off * mask).sum() / mask.sum() + self.cfg.kl_weight * divergence
