"""What every measured update works on: the shapes of the rows and a full buffer in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

OBS, ACT, BATCH, CAPACITY = 40, 7, 256, 10_000
LR, GAMMA, TAU = 3e-4, 0.99, 0.005
LOG_STD_RANGE = (-20.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    critics: int
    hidden: tuple[int, ...]
    layer_norm: bool

    @property
    def name(self) -> str:
        norm = " LN" if self.layer_norm else ""
        return f"{self.hidden[0]}x{len(self.hidden)}{norm}, {self.critics} critics"


class Buffer:
    """Random transitions as tensors."""

    def __init__(self) -> None:
        self.obs, self.next_obs = torch.randn(CAPACITY, OBS), torch.randn(CAPACITY, OBS)
        self.action = torch.rand(CAPACITY, ACT) * 2 - 1
        self.reward, self.alive = torch.randn(CAPACITY, 1), torch.ones(CAPACITY, 1)

    def sample(self) -> tuple[Tensor, ...]:
        i = torch.randint(CAPACITY, (BATCH,))
        return (
            self.obs.index_select(0, i),
            self.action.index_select(0, i),
            self.reward.index_select(0, i),
            self.alive.index_select(0, i),
            self.next_obs.index_select(0, i),
        )
