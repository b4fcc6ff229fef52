"""Keep the C library from giving block buffers back to the kernel after every block."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 256 << 20


def keep_freed_memory() -> None:
    """Reuse freed blocks of up to 256 MiB instead of mapping fresh, zeroed pages each time.

    Mapping them anew costs more time in the kernel than the merge's arithmetic. Other C libraries
    than glibc have no such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
