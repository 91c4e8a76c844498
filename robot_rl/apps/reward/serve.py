"""`robot-rl reward serve`: offer a progress model to labelers on this machine or others.

learning:  transition → episode store → **progress model elsewhere** → replay → residual agent
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from robot_rl.errors import ConfigError
from robot_rl.reward.loading import load_model
from robot_rl.reward.score_server import ScoreServer, ScoreServerCfg

__all__ = ["Cfg", "main"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """What to serve, and where."""

    model: Path
    """Folder of the model: from `robot-rl reward train`, or one with a judge.json."""
    server: ScoreServerCfg = field(default_factory=ScoreServerCfg)
    """Where to listen, and how much to take on."""
    token_variable: str = ""
    """Environment variable that holds the token clients must show; "" for none."""
    threads: int = 0
    """Threads for torch; 0 leaves that to torch."""


def main(cfg: Cfg) -> int:
    """Serve until Ctrl-C.

    Raises:
        ConfigError: The token's variable is empty.
        CheckpointError: The folder holds no model.
        PortError: The address is taken.
    """
    logging.getLogger("robot_rl").setLevel(logging.INFO)
    token = os.environ.get(cfg.token_variable, "") if cfg.token_variable else ""
    if cfg.token_variable and not token:
        raise ConfigError(
            f"the environment variable {cfg.token_variable} is empty. Set it to the token, or "
            "leave token_variable out and listen on 127.0.0.1."
        )
    if cfg.threads:
        import torch

        torch.set_num_threads(cfg.threads)
    model = load_model(cfg.model)
    with ScoreServer(model, cfg.server, token) as server:
        print(f"serving {model.model_id} version {model.version} at {server.url}", flush=True)
        server.wait()
    return 0
