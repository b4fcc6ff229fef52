"""Matrices in blocks of whole rows: what a merge reads, changes and writes at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuneforge.weights import TensorInfo, Weights

Floats = npt.NDArray[np.float32]

# Elements in a block: small enough for the cache and for any number of threads, large enough that
# the cost of a call does not show.
BLOCK = 1 << 18


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Take a tensor as a matrix: a vector is one row, further dimensions are columns."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def row_blocks(rows: int, columns: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Cut rows into blocks of about BLOCK elements; all but the last are whole ``multiple``s."""
    step = max(1, BLOCK // max(1, columns))
    step = max(multiple, step - step % multiple)
    for first in range(0, rows, step):
        yield first, min(rows, first + step)


@dataclass(frozen=True)
class StoredRows:
    """The rows of one stored tensor, decoded to float32."""

    weights: Weights
    tensor: TensorInfo
    multiple: int = 1

    def rows(self, first: int, last: int) -> Floats:
        """Read rows ``first:last`` as [last - first, columns]."""
        from tuneforge.merge.kernels.floats import to_float32

        columns = matrix_shape(self.tensor.shape)[1]
        stored = self.weights.read(self.tensor.name, first * columns, last * columns)
        return to_float32(stored).reshape(last - first, columns)
