"""Room for the index: in memory, or where an array is large in a file that the kernel pages out."""

import math
import os
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Bytes of one array. Near-duplicates of about 7 million records fit their table in this.
IN_MEMORY = 2 << 30


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike, folder: Path | None) -> NDArray[Any]:
    """Make an array of zeros; one above ``IN_MEMORY`` is a nameless file in ``folder``, if given.

    Raises OSError where the disk has no room for it: now, not when it is written.
    """
    size = np.dtype(dtype).itemsize * math.prod((shape,) if isinstance(shape, int) else shape)
    if folder is None or size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    with TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.frombuffer(mmap(file.fileno(), size), dtype).reshape(shape)
