"""Inner products of a tensor's inputs, and merges that are combinations of the inputs.

Whatever a method on the sphere does stays in the span of its inputs, so after one pass for the
inner products all of it is arithmetic on a few coefficients, in float64.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tuneforge.merge.method import Block, Combine, Floats, Tensor

Matrix = npt.NDArray[np.float64]
View = Callable[[Block], Sequence[Floats]]


def gram(tensor: Tensor, view: View) -> Matrix:
    """Return the inner products of the vectors that ``view`` gives, over the whole tensor."""
    total: Matrix | None = None
    for block in tensor.blocks():
        part = products([np.ascontiguousarray(v).reshape(-1) for v in view(block)])
        total = part if total is None else total + part
    assert total is not None
    return total


def products(vectors: Sequence[Floats]) -> Matrix:
    """Return all inner products of flat float32 vectors."""
    from tuneforge.merge.kernels.reduce import dot

    out = np.zeros((len(vectors), len(vectors)))
    for row, left in enumerate(vectors):
        for column in range(row, len(vectors)):
            out[row, column] = out[column, row] = dot(left, vectors[column])
    return out


def combination(coefficients: Sequence[float], view: View, *, onto_base: bool) -> Combine:
    """Return the merge that adds up ``coefficient * vector``, on top of the base if asked."""
    factors = [np.float32(value) for value in coefficients]

    def combine(block: Block) -> Floats:
        vectors = view(block)
        merged = vectors[0] * factors[0]
        for vector, factor in zip(vectors[1:], factors[1:], strict=True):
            merged += vector * factor
        if onto_base:
            merged += block.base
        return merged

    return combine
