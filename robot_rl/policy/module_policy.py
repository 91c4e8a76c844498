"""What policies made of one torch module share: how they look, and how they are kept.

command:   camera, arm → observe → **base: a module's chunk** → + residual → decode → safety

How the module answers is the policy's own: `act.py`, `flow.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import NonFiniteError
from robot_rl.policy.base import Observation
from robot_rl.policy.encoders import camera_images
from robot_rl.policy.module_arrays import built_with_seed, load_module, module_arrays
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.types import F32

__all__ = ["ModulePolicy"]


class _Cfg(Protocol):
    """Sizes of a module that plans chunks from state and cameras."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def chunk(self) -> int: ...
    @property
    def cameras(self) -> tuple[tuple[str, int, int], ...]: ...


Cfg = TypeVar("Cfg", bound=_Cfg)
Net = TypeVar("Net", bound=nn.Module)


class ModulePolicy(ABC, Generic[Cfg, Net]):
    """A policy whose numbers are those of `net`, and of the scaling that it was trained under.

    Attributes:
        cfg: Sizes of the module.
        norm: The scaling.
        net: The module, in evaluation mode.
    """

    kind: ClassVar[str]
    cfg_type: ClassVar[type[Any]]

    def __init__(self, cfg: Cfg, norm: Normaliser, *, seed: int) -> None:
        self.cfg, self.norm = cfg, norm
        self.net = built_with_seed(lambda: self._module(seed), seed).eval()

    @abstractmethod
    def _module(self, seed: int) -> Net:
        """The untrained module; torch's global generator is seeded while this runs."""

    @property
    def chunk(self) -> int:
        """Actions that one plan holds; all are executed."""
        return self.cfg.chunk

    def reset(self) -> None:
        """Nothing is remembered between plans."""

    def _look(self, obs: Observation) -> tuple[Tensor, dict[str, Tensor]]:
        """The z-scored state (1, d) and the images (1, h, w, 3) by camera.

        Raises:
            ShapeError: The observation is not what the policy was trained on.
            UnknownNameError: The observation lacks a camera.
            NonFiniteError: The observation holds NaN or infinity.
        """
        state = torch.from_numpy(self.norm.state(state_vector(obs, self.norm.state_dim)))[None]
        return state, camera_images(obs, [name for name, _, _ in self.cfg.cameras])

    def _plans(self, unit: F32) -> F32:
        """Unit actions (..., chunk, a) in the env's units.

        Raises:
            NonFiniteError: One is NaN or infinite.
        """
        plans = self.norm.from_unit(unit)
        if not np.isfinite(plans).all():
            raise NonFiniteError(f"{self.kind}: plan", "NaN or inf", "Train the policy again.")
        return plans

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able."""
        return asdict(self.cfg)

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the policy by name."""
        return {**module_arrays(self.net), **self.norm.arrays()}

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        cameras = tuple((str(n), int(h), int(w)) for n, h, w in config["cameras"])
        cfg = cls.cfg_type(**{**config, "cameras": cameras})
        policy = cls(cfg, Normaliser.from_arrays(arrays), seed=0)
        load_module(policy.net, arrays)
        return policy
