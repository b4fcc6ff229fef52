"""Compile functions with numba; this module is loaded only where kernels are."""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F, **options: Any) -> F:
    """Compile a function on its first call.

    The machine code is kept for later processes, unless no folder for it is writable: a read-only
    installation without a home folder, as in a container, compiles each time.
    """
    options = {"nogil": True, "error_model": "numpy", **options}
    if os.path.expanduser("~") == "~":  # noqa: PTH111 (numba would make a folder of this name)
        return cast("F", numba.njit(**options)(function))
    try:
        return cast("F", numba.njit(cache=True, **options)(function))
    except RuntimeError:
        return cast("F", numba.njit(**options)(function))
