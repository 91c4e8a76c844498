"""How many threads a verb computes with."""

import torch

__all__ = ["use_one_thread"]


def use_one_thread() -> None:
    """Compute on one thread.

    The networks are so small that a second thread costs more than it brings, and with one, sums
    come out bit for bit the same after every resume.
    """
    torch.set_num_threads(1)
