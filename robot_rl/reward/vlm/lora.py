"""Low-rank adapters: a frozen linear layer plus a small learned product, W x + s·B(A x).

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Our own forty lines instead of peft: it would bring accelerate, and its device placement silently
leaves B at zero (measured upstream). Files are laid out as peft writes them
(`adapter_config.json`, `adapter_model.safetensors`), so that vLLM serves what was trained here.
Ref: LoRA, arXiv 2106.09685, equation 3.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from robot_rl.errors import CheckpointError, ConfigError, UnknownNameError

__all__ = ["AdapterSwitch", "LoraCfg", "LoraLinear", "add_lora", "load_adapter", "save_adapter"]

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class LoraCfg:
    """Which layers are adapted, and how much."""

    rank: int = 16
    """Rank of the learned product."""
    alpha: float = 32.0
    """Scale: the product is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers that are adapted."""
    within: str = "language_model"
    """Part of the model where they are looked for; the vision tower stays as it is."""

    def __post_init__(self) -> None:
        """Refuse an adapter that adapts nothing."""
        if self.rank < 1:
            raise ConfigError(f"rank is {self.rank}, but must be >= 1.")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"alpha is {self.alpha}, but must be positive.")
        if not self.targets:
            raise ConfigError("targets are empty, but must name linear layers such as q_proj.")


class LoraLinear(nn.Module):
    """A frozen linear layer with named low-rank additions, one or none of them in force."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.scale: dict[str, float] = {}
        self.active = ""

    def add(self, name: str, cfg: LoraCfg) -> None:
        """Add an adapter that changes nothing yet: A is random, B is zero."""
        weight = self.base.weight
        where = {"device": weight.device, "dtype": weight.dtype, "bias": False}
        self.down[name] = nn.Linear(self.base.in_features, cfg.rank, **where)
        self.up[name] = nn.Linear(cfg.rank, self.base.out_features, **where)
        nn.init.zeros_(self.up[name].weight)
        self.scale[name] = cfg.alpha / cfg.rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        y = self.base(x)
        if self.active not in self.down:
            return y
        return y + self.scale[self.active] * self.up[self.active](self.down[self.active](x))


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """All adapted layers and the names that they had before."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, LoraLinear))


def add_lora(model: nn.Module, name: str, cfg: LoraCfg) -> list[nn.Parameter]:
    """Add an adapter to a model and return what is to be trained.

    Raises:
        ConfigError: No layer has one of the names.
    """
    path = re.compile(rf"(.*\.)?{re.escape(cfg.within)}\..*" if cfg.within else ".*")
    found = [
        (where, module)
        for where, module in model.named_modules()
        if isinstance(module, nn.Linear | LoraLinear)
        and path.fullmatch(where)
        and where.rpartition(".")[2] in cfg.targets
    ]
    if not found:
        raise ConfigError(
            f"no linear layer of the model is called {' or '.join(cfg.targets)} within "
            f"'{cfg.within}'. Print model.named_modules() for the names."
        )
    trained: list[nn.Parameter] = []
    for where, module in found:
        layer = module
        if not isinstance(layer, LoraLinear):
            layer = LoraLinear(module)
            parent, _, leaf = where.rpartition(".")
            setattr(model.get_submodule(parent), leaf, layer)
        layer.add(name, cfg)
        trained += [layer.down[name].weight, layer.up[name].weight]  # type: ignore[list-item]
    return trained


def save_adapter(model: nn.Module, name: str, cfg: LoraCfg, folder: Path) -> None:
    """Write one adapter, in the layout of peft.

    Raises:
        CheckpointError: It changes nothing: it was not trained, or training did not reach it.
    """
    tensors = {}
    for where, layer in lora_layers(model):
        if name in layer.down:
            for letter, part in (("A", layer.down), ("B", layer.up)):
                key = f"{_PREFIX}{where}.lora_{letter}.weight"
                tensors[key] = part[name].weight.detach().cpu().contiguous()
    if not any(t.any() for key, t in tensors.items() if ".lora_B." in key):
        raise CheckpointError(f"adapter '{name}' changes nothing: all of B is 0. Train it first.")
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    row = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": cfg.rank,
        "lora_alpha": cfg.alpha,
        "target_modules": rf".*{re.escape(cfg.within)}\..*\.({'|'.join(cfg.targets)})",
        "lora_dropout": 0.0,
        "bias": "none",
        "robot_rl": {"targets": list(cfg.targets), "within": cfg.within},
    }
    (folder / _CONFIG).write_text(json.dumps(row, indent=2) + "\n")


def load_adapter(model: nn.Module, name: str, folder: Path) -> None:
    """Add an adapter that `save_adapter` wrote.

    Raises:
        CheckpointError: It is damaged, or was trained for another model.
    """
    try:
        row = json.loads((folder / _CONFIG).read_text())
        own = row["robot_rl"]
        cfg = LoraCfg(
            rank=int(row["r"]),
            alpha=float(row["lora_alpha"]),
            targets=tuple(own["targets"]),
            within=str(own["within"]),
        )
        tensors = safetensors.torch.load_file(folder / _WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} is no adapter of ours: {error!r}") from error
    add_lora(model, name, cfg)
    wanted: dict[str, torch.Tensor] = {}
    for where, layer in lora_layers(model):
        if name in layer.down:
            wanted[f"{_PREFIX}{where}.lora_A.weight"] = layer.down[name].weight  # type: ignore[assignment]
            wanted[f"{_PREFIX}{where}.lora_B.weight"] = layer.up[name].weight  # type: ignore[assignment]
    shapes = {key: tuple(t.shape) for key, t in tensors.items()}
    if shapes != {key: tuple(t.shape) for key, t in wanted.items()}:
        raise CheckpointError(f"{folder} was trained for another model: its layers differ.")
    with torch.no_grad():
        for key, parameter in wanted.items():
            parameter.copy_(tensors[key])
            parameter.requires_grad_(False)


@dataclass(kw_only=True, eq=False)
class AdapterSwitch:
    """Chooses which adapter of a model is in force."""

    model: Any
    names: Sequence[str]

    @classmethod
    def read(cls, model: nn.Module, folders: Mapping[str, Path]) -> "AdapterSwitch":
        """Load all adapters into a model; none is in force."""
        for name, folder in folders.items():
            load_adapter(model, name, Path(folder))
        return cls(model=model, names=list(folders))

    def select(self, name: str) -> None:
        """Put an adapter in force; "" for the model as it is.

        Raises:
            UnknownNameError: There is no such adapter.
        """
        if name and name not in self.names:
            raise UnknownNameError("adapter", name, self.names or ["(none loaded)"])
        for _, layer in lora_layers(self.model):
            layer.active = name
