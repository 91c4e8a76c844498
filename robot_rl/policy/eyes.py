"""A frozen encoder of camera images, and policies that look through it.

command:   camera, arm → observe → **images → features** → policy (base + residual) → decode

Trained once on the demonstrations (`learn/eyesight.py`) and never again, so that a feature means
the same to the base, to the replay and to the critics, and a step costs one look.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import safetensors
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from robot_rl.errors import CheckpointError, NonFiniteError
from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.policy.encoders import PatchEncoder, camera_images
from robot_rl.policy.module_arrays import built_with_seed, load_module, module_arrays
from robot_rl.policy.normalise import state_vector
from robot_rl.policy.saved import Arrays, SavedPolicy, restore_policy, under
from robot_rl.types import F32, U8

__all__ = ["Eyes", "EyesCfg", "SeeingPolicy"]

_AT_ONCE = 64  # images encoded together: bounds the memory


@dataclass(frozen=True, kw_only=True)
class EyesCfg:
    """Sizes of the encoder."""

    state_dim: int
    """Size of the state beside the images."""
    cameras: tuple[tuple[str, int, int], ...]
    """Name, height and width in pixels of each camera that is looked at."""
    width: int = 32
    """Size of a patch's token."""
    features: int = 32
    """Features of a camera."""


class _Net(nn.Module):
    """For each camera: patches → tokens → features in [-1, 1]."""

    def __init__(self, cfg: EyesCfg) -> None:
        super().__init__()
        eyes = {n: PatchEncoder(h, w, cfg.width) for n, h, w in cfg.cameras}
        self.patches = nn.ModuleDict(eyes)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(eye.patches * cfg.width, cfg.features),
                    nn.LayerNorm(cfg.features),
                    nn.Tanh(),
                )
                for name, eye in eyes.items()
            }
        )

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Features (B, cameras · features) of images (B, h, w, 3)."""
        seen = [self.heads[name](eye(images[name])) for name, eye in self.patches.items()]
        return torch.cat(seen, 1)


class Eyes:
    """Images to features, the same at every time for the same images."""

    def __init__(self, cfg: EyesCfg, *, seed: int) -> None:
        self.cfg = cfg
        self.net = built_with_seed(lambda: _Net(cfg), seed).eval()

    @property
    def features(self) -> int:
        """Numbers that the images of one observation become."""
        return len(self.cfg.cameras) * self.cfg.features

    @property
    def cameras(self) -> list[str]:
        """The cameras that are looked at."""
        return [name for name, _, _ in self.cfg.cameras]

    @torch.no_grad()
    def see(self, obs: Observation) -> F32:
        """State and features (d + f,) of an observation.

        Raises:
            ShapeError: State or images are of other sizes than those that were learned from.
            UnknownNameError: The observation lacks a camera.
            NonFiniteError: The state holds NaN or infinity.
        """
        state = state_vector(obs, self.cfg.state_dim)
        features = self.net(camera_images(obs, self.cameras))[0].numpy()
        if not np.isfinite(features).all():
            raise NonFiniteError("eyes: features", features, "Train the encoder again.")
        return np.concatenate([state, features])

    @torch.no_grad()
    def see_all(self, states: F32, images: Mapping[str, U8]) -> F32:
        """State and features (n, d + f) of n observations."""
        parts = [
            self.net(
                {name: torch.from_numpy(images[name][at : at + _AT_ONCE]) for name in self.cameras}
            ).numpy()
            for at in range(0, len(states), _AT_ONCE)
        ]
        return np.concatenate([states, np.concatenate(parts)], 1).astype(np.float32)

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able."""
        return asdict(self.cfg)

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        return module_arrays(self.net)

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Arrays) -> "Eyes":
        """The encoder that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        cameras = tuple((str(n), int(h), int(w)) for n, h, w in config["cameras"])
        eyes = cls(EyesCfg(**{**config, "cameras": cameras}), seed=0)
        load_module(eyes.net, arrays)
        return eyes

    def save(self, path: Path) -> Path:
        """Write all of it into one file, whole or not at all. Returns `path`."""
        weights = save(self.arrays(), metadata={"config": json.dumps(self.config())})
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        staging.write_bytes(weights)
        os.replace(staging, path)
        return path

    @classmethod
    def load(cls, path: Path) -> "Eyes":
        """The encoder in a file that `save` wrote.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        try:
            with safetensors.safe_open(path, "numpy") as file:
                config = json.loads(file.metadata()["config"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls.restore(config, arrays)
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"{path} is no encoder of images: {error}. Start the run anew."
            ) from error


class SeeingPolicy:
    """A policy of vectors that looks through eyes: it acts on state and images as they come.

    Args:
        eyes: The frozen encoder.
        policy: What acts on [state, features].
    """

    kind: ClassVar[str] = "seeing"

    def __init__(self, eyes: Eyes, policy: BasePolicy) -> None:
        self.eyes, self.policy = eyes, policy

    @property
    def chunk(self) -> int:
        """Actions that one plan holds."""
        return self.policy.chunk

    def reset(self) -> None:
        """Start of an episode."""
        self.policy.reset()

    def act(self, obs: Observation) -> F32:
        """The plan (chunk, a) for state and images."""
        return self.policy.act(self.eyes.see(obs))

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able.

        Raises:
            CheckpointError: The policy is not one that can be saved.
        """
        if not isinstance(self.policy, SavedPolicy):
            raise CheckpointError(
                f"eyes on a policy of type {type(self.policy).__name__} cannot be saved, since "
                "the policy cannot. Save it where it lives."
            )
        inner = {"kind": self.policy.kind, "config": self.policy.config()}
        return {"eyes": self.eyes.config(), "policy": inner}

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of eyes and policy by name."""
        arrays = {f"eyes.{k}": v for k, v in self.eyes.arrays().items()}
        if isinstance(self.policy, SavedPolicy):
            arrays |= {f"policy.{k}": v for k, v in self.policy.arrays().items()}
        return arrays

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Arrays) -> "SeeingPolicy":
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        inner = config["policy"]
        policy = restore_policy(inner["kind"], inner["config"], under("policy.", arrays))
        return cls(Eyes.restore(config["eyes"], under("eyes.", arrays)), policy)
