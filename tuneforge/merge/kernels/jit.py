"""Compile functions with numba: without the GIL, without reordering, cached where possible."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile ``function``; its machine code is kept unless no folder for it is writable.

    No fast-math: each addition happens in the order written, so results do not depend on how a
    loop was vectorised.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # a read-only installation without a home folder: compile each time
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
