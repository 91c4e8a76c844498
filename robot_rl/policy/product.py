"""Products of stacked matrices, by MKL or, where that is faster, by oneDNN.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

torch multiplies float32 by MKL, which on AMD's CPUs keeps to AVX2: half the speed of the AVX-512
that oneDNN uses there. Which of the two is known from the machine and not measured: they add up in
another order, and a process that resumes a run must not choose otherwise.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["product", "product_added"]

_WIDE = 64  # with a narrower matrix MKL is as fast or faster
_AS_EXACT = 1e-5  # relative: float32 is at 1e-7 here, products of rounded inputs at 1e-3
_LIBRARY: Any = getattr(torch.backends.mkldnn, "matmul", None)  # there is none before torch 2.9


def product(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
    """Write (N, i, k) @ (N, k, j) into `out` (N, i, j)."""
    if _suits_onednn(a, b):
        with _Onednn():
            return torch.bmm(a, b, out=out)
    return torch.bmm(a, b, out=out)


def product_added(c: Tensor, a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
    """Write c + (N, i, k) @ (N, k, j) into `out` (N, i, j), which may be `c`."""
    if _suits_onednn(a, b):
        with _Onednn():
            return torch.baddbmm(c, a, b, out=out)
    return torch.baddbmm(c, a, b, out=out)


def _suits_onednn(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == torch.float32 and min(*a.shape[1:], b.shape[2]) >= _WIDE and _onednn_is_better()
    )


class _Onednn:
    """Within, torch lets oneDNN have float32 products.

    It does so only where bfloat16 may replace them. oneDNN makes use of that permission on CPUs
    with AMX alone; elsewhere its products stay float32.
    """

    def __enter__(self) -> None:
        _LIBRARY.fp32_precision = "bf16"

    def __exit__(self, *_: object) -> None:
        _LIBRARY.fp32_precision = "none"


@functools.cache
def _onednn_is_better() -> bool:
    """Whether this is an AMD CPU with AVX-512 on which oneDNN's products are float32 indeed."""
    if _LIBRARY is None or _LIBRARY.fp32_precision != "none":  # somebody has chosen already
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _is_amd():
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 64, generator=generator)
    exact = a.double() @ b.double()
    with _Onednn():
        error = (a @ b - exact).norm() / exact.norm()
    return bool(error < _AS_EXACT)


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()[:1000]
    except OSError:  # not Linux
        return False
