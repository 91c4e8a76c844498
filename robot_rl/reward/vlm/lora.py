"""Low-rank adapters: a frozen linear layer plus a small learned product, W x + s·B(A x).

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Our own few lines instead of peft: it would bring accelerate, and its device placement silently
leaves B at zero (measured upstream). Files are laid out as peft writes them
(`adapter_config.json`, `adapter_model.safetensors`), so that vLLM serves what was trained here.
Ref: LoRA, arXiv 2106.09685, equation 3.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from robot_rl.errors import CheckpointError, ConfigError, UnknownNameError

__all__ = [
    "AdapterSwitch",
    "LoraCfg",
    "LoraLinear",
    "add_lora",
    "drop_lora",
    "load_adapter",
    "save_adapter",
]

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
    """A frozen linear layer with named low-rank additions, one or none of them in force.

    The additions are float32 whatever the layer is: their updates are too small for less.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        self.scale: dict[str, float] = {}
        self.active = ""

    def add(self, name: str, cfg: LoraCfg) -> None:
        """Add an adapter that changes nothing yet: A is random, B is zero."""
        inputs, outputs = self.base.in_features, self.base.out_features
        device = self.base.weight.device
        down = torch.empty(cfg.rank, inputs)  # drawn here, so that a seed means one on any device
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))  # as peft does
        self.down[name] = nn.Parameter(down.to(device))
        self.up[name] = nn.Parameter(torch.zeros(outputs, cfg.rank, device=device))
        self.scale[name] = cfg.alpha / cfg.rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        y = self.base(x)
        if self.active not in self.down:
            return y
        inner = functional.linear(x, self.down[self.active].to(x.dtype))
        added = functional.linear(inner, self.up[self.active].to(x.dtype))
        return y + self.scale[self.active] * added


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """All adapted layers and the names that they had before."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, LoraLinear))


def add_lora(model: nn.Module, name: str, cfg: LoraCfg) -> list[nn.Parameter]:
    """Add an adapter to a model and return what is to be trained.

    Raises:
        ConfigError: No layer has one of the names, or the adapter's name cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(f"adapter is called {name!r}, but must be of A-Z a-z 0-9 _ -.")
    path = re.compile(rf"(.*\.)?{re.escape(cfg.within)}\..*" if cfg.within else ".*")
    for where, module in list(model.named_modules()):
        is_target = where.rpartition(".")[2] in cfg.targets and path.fullmatch(where)
        if is_target and isinstance(module, nn.Linear):
            parent, _, leaf = where.rpartition(".")
            setattr(model.get_submodule(parent), leaf, LoraLinear(module))
    trained: list[nn.Parameter] = []
    for where, layer in lora_layers(model):
        if where.rpartition(".")[2] in cfg.targets and path.fullmatch(where):
            layer.add(name, cfg)
            trained += [layer.down[name], layer.up[name]]
    if not trained:
        raise ConfigError(
            f"no linear layer of the model is called {' or '.join(cfg.targets)} within "
            f"'{cfg.within}'. Print model.named_modules() for the names."
        )
    return trained


def drop_lora(model: nn.Module, name: str) -> None:
    """Take an adapter away, such as one whose training failed."""
    for _, layer in lora_layers(model):
        if name in layer.down:
            del layer.down[name], layer.up[name], layer.scale[name]


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
                tensors[key] = part[name].detach().cpu().contiguous()
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
            wanted[f"{_PREFIX}{where}.lora_A.weight"] = layer.down[name]
            wanted[f"{_PREFIX}{where}.lora_B.weight"] = layer.up[name]
    shapes = {key: tuple(t.shape) for key, t in tensors.items()}
    if shapes != {key: tuple(t.shape) for key, t in wanted.items()}:
        drop_lora(model, name)
        raise CheckpointError(f"{folder} was trained for another model: its layers differ.")
    with torch.no_grad():
        for key, parameter in wanted.items():
            parameter.copy_(tensors[key])
            parameter.requires_grad_(False)


@dataclass(kw_only=True, eq=False)
class AdapterSwitch:
    """Chooses which adapter of a model is in force."""

    model: Any
    names: list[str]

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
        self.force(name)

    def force(self, name: str) -> None:
        """Put an adapter in force that was added later, such as one in training."""
        for _, layer in lora_layers(self.model):
            layer.active = name
