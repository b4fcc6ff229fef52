"""How kernels are compiled: cached on disk, without the interpreter lock. Imports numba."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba as nb

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile a function on its first call; the machine code is kept for later processes."""
    return cast("F", nb.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile a small function into those that call it."""
    return cast(
        "F", nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function)
    )
