"""The difference of a fine-tuned matrix from its base as two thin factors, read block by block."""

import hashlib
from collections.abc import Iterator

import numpy as np
from tuneforge_specs.errors import DataError

from tuneforge.merge.base import base_rows
from tuneforge.merge.blocks import Floats, StoredRows, matrix_shape, row_blocks
from tuneforge.merge.lowrank.algebra import Matrix
from tuneforge.merge.lowrank.combine import Made, rounded
from tuneforge.merge.lowrank.plan import AdapterPlan, Module

EXACT = 1 << 20  # elements up to which the difference is held and decomposed exactly
OVERSAMPLING = 10
ITERATIONS = 2  # Halko et al. 2011: enough for the slowly falling spectra of fine-tunes


class Difference:
    """``tuned - base`` of one stored tensor as a matrix [rows, columns] that is never whole."""

    def __init__(self, plan: AdapterPlan, name: str) -> None:
        assert plan.tuned is not None
        self.name = name
        self.rows, self.columns = matrix_shape(plan.base.weights[name].shape)
        self._base = base_rows(plan.base, name, plan.onto)
        weights = plan.tuned.weights
        self._tuned = StoredRows(weights, weights[plan.tuned.find(name)])

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Read the difference once, in blocks of rows."""
        for first, last in row_blocks(self.rows, self.columns, self._base.multiple):
            values = self._tuned.rows(first, last) - self._base.rows(first, last)
            if not np.isfinite(values).all():
                raise DataError(f"{self.name}: not finite", "restore the fine-tuned model")
            yield slice(first, last), values

    def changed(self) -> bool:
        """Whether any element differs; reads on only until one does."""
        return any(bool(values.any()) for _, values in self.blocks())

    def norm(self) -> float:
        """Return the Frobenius norm."""
        return float(np.sqrt(sum(_square(values) for _, values in self.blocks())))

    def whole(self) -> Matrix:
        """Return the matrix."""
        return np.concatenate([values for _, values in self.blocks()]).astype(np.float64)

    def times(self, right: Matrix) -> Matrix:
        """Return the difference times ``right`` [columns, n]."""
        return np.concatenate([values @ right for _, values in self.blocks()])

    def across(self, left: Matrix) -> Matrix:
        """Return the transposed difference times ``left`` [rows, n]."""
        total = np.zeros((self.columns, left.shape[1]))
        for rows, values in self.blocks():
            total += values.T @ left[rows]
        return total


def extracted(plan: AdapterPlan, module: Module, dtype: np.dtype[np.generic]) -> Made:
    """Return the factors of a module's difference; the error is that of the rounded factors."""
    difference = Difference(plan, module.tensor)
    left, right = _decomposed(difference, module.rank, plan.seed)
    small_left, small_right = rounded(left, dtype), rounded(right, dtype)
    norm = missed = 0.0
    for rows, values in difference.blocks():
        norm += _square(values)
        missed += _square(values - small_left[rows].astype(np.float64) @ small_right)
    a, b = (small_left.T, small_right.T) if plan.transposed else (small_right, small_left)
    return Made(a, b, float(np.sqrt(norm)), float(np.sqrt(missed)))


def _decomposed(difference: Difference, rank: int, seed: int) -> tuple[Matrix, Matrix]:
    """Return factors [rows, rank] and [rank, columns] by a truncated SVD."""
    shape = difference.rows, difference.columns
    width = rank + max(OVERSAMPLING, rank // 2)
    if shape[0] * shape[1] <= EXACT or width >= min(shape):
        u, s, v = np.linalg.svd(difference.whole(), full_matrices=False)
    else:
        basis = _range(difference, width, seed)
        inner, upper = np.linalg.qr(difference.across(basis))
        turned, s, v = np.linalg.svd(upper.T)
        u, v = basis @ turned, v @ inner.T
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * v[:rank]


def _range(difference: Difference, width: int, seed: int) -> Matrix:
    """Return an orthonormal basis of what the difference maps to (Halko et al. 2011, alg. 4.4)."""
    # Seeded by the tensor's name, so that the order of threads does not matter.
    digest = hashlib.sha256(f"{seed}/{difference.name}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "little")))
    basis, _ = np.linalg.qr(difference.times(generator.normal(size=(difference.columns, width))))
    for _ in range(ITERATIONS):
        inner, _ = np.linalg.qr(difference.across(basis))
        basis, _ = np.linalg.qr(difference.times(inner))
    return basis


def _square(values: Floats | Matrix) -> float:
    return float(np.square(values, dtype=np.float64).sum())
