"""Where networks that look at images are trained: on a GPU if one is asked for, and there.

learning:  episode store → **eyes, act, flow on a device** → policy on the CPU

Only training moves. What acts is small, one observation at a time, and stays on the CPU, where it
answers soonest; so a policy trained on a GPU runs on a robot without one.
"""

import torch

from robot_rl.errors import ConfigError

__all__ = ["device_of"]


def device_of(name: str) -> torch.device:
    """The device that torch calls `name`: cpu, cuda, cuda:1 ...

    Raises:
        ConfigError: Torch does not know it, or it is not on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the build's own words
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device is '{name}', but training cannot run there ({reason}). Give cpu, or cuda on "
            "a machine with an NVIDIA GPU and a CUDA build of torch; robot-rl doctor shows both."
        ) from error
    return device
