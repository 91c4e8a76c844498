"""Carries a network's parameters to and from the arrays of a saved policy."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from robot_rl.errors import CheckpointError
from robot_rl.policy.stacked import StackedMLP

__all__ = ["built_with_seed", "load_flat", "load_module", "module_arrays"]

_PREFIX = "net."

Module = TypeVar("Module", bound=nn.Module)


def built_with_seed(build: Callable[[], Module], seed: int) -> Module:
    """A module whose initial weights come from `seed`; torch's global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def module_arrays(net: nn.Module) -> dict[str, np.ndarray]:
    """Copies of all parameters and buffers by name."""
    return {
        _PREFIX + name: tensor.detach().cpu().numpy().copy()
        for name, tensor in net.state_dict().items()
    }


def load_flat(net: StackedMLP, flat: np.ndarray) -> None:
    """Fill a stacked network with its one flat parameter (P,).

    Raises:
        CheckpointError: It is of another size.
    """
    if flat.shape != tuple(net.flat.shape):
        raise CheckpointError(
            f"{flat.size} weights, but {net.num} networks of sizes {net.sizes} have "
            f"{net.flat.numel()}. Save the policy again."
        )
    net.flat.copy_(torch.from_numpy(np.array(flat)))


def load_module(net: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill `net` with what `module_arrays` returned; further names are ignored.

    Raises:
        CheckpointError: A parameter is missing, unknown or of another shape.
    """
    state = {
        name.removeprefix(_PREFIX): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(_PREFIX)
    }
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{type(net).__name__}: weights do not fit the sizes in the config: {error}"
        ) from error
