"""NF4 read rightly on CPUs, where bitsandbytes misreads some widths. Loads torch.

Its AVX-512 kernel takes every row to begin a block of 64 weights. Rows of 16, 32, 48, 80, ... (any
multiple of 16 that is none of 64) begin inside one, and get the scale of another. The kernel is
right for a matrix of one row, and the packed bytes are the same, so that is what it is given.
"""

import warnings
from math import prod
from typing import Any

import torch
from torch import library
from tuneforge_specs.errors import EnvironmentMissing

NAME = "bitsandbytes::dequantize_4bit"
_KEPT: list[library.Library] = []  # an override lasts as long as its library object


def read_rightly(model: torch.nn.Module) -> None:
    """Replace the kernel in this process if a layer of the model would be misread."""
    from bitsandbytes.nn import Linear4bit

    widths = {
        module.in_features
        for module in model.modules()
        if isinstance(module, Linear4bit)
        and module.weight.device.type == "cpu"
        and module.in_features % module.weight.blocksize
    }
    if not widths or _KEPT:
        return
    if not hasattr(library, "get_kernel"):
        raise EnvironmentMissing(
            f"bitsandbytes misreads NF4 weights of {min(widths)} columns on CPUs, and torch "
            f"{torch.__version__} is too old for that to be mended",
            'install the torch of constraints.txt, or set base.quantize = "none"',
        )
    misreading = library.get_kernel(NAME, "CPU")
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)  # noqa: SLF001 - no public name

    def dequantize(
        packed: torch.Tensor,
        absmax: torch.Tensor,
        blocksize: int,
        kind: str,
        shape: list[int],
        dtype: torch.dtype,
    ) -> Any:
        flat = [1, prod(shape)]
        whole = misreading.call_boxed(keys, packed, absmax, blocksize, kind, flat, dtype)
        return whole.reshape(shape)

    override = library.Library("bitsandbytes", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a kernel is replaced
        override.impl("dequantize_4bit", dequantize, "CPU", allow_override=True)
    _KEPT.append(override)
