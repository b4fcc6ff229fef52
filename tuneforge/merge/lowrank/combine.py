"""Several low-rank updates of one module as one: side by side, or compressed to a lower rank."""

from dataclasses import dataclass

import numpy as np
from tuneforge_specs.errors import DataError

from tuneforge.merge.lowrank.algebra import Matrix, product_norm, truncated
from tuneforge.merge.lowrank.plan import Module, Term
from tuneforge.merge.method import Floats


@dataclass(frozen=True)
class Made:
    """The new factors of a module as stored, but in float32.

    ``norm`` is the Frobenius norm of the exact update, ``error`` that of what the factors miss.
    """

    a: Floats
    b: Floats
    norm: float
    error: float


def combined(module: Module, dtype: np.dtype[np.generic]) -> Made:
    """Sum the module's updates: exactly where its rank is large enough, else as near as can be.

    Computed in float64 and rounded once to ``dtype``. Memory is a few times the factors' size.
    """
    left = np.concatenate([term.scale * _loaded(term, term.factors.b) for term in module.terms], 1)
    right = np.concatenate([_loaded(term, term.factors.a) for term in module.terms], 0)
    exact = module.rank == left.shape[1]
    b, a = (left, right) if exact else truncated(left, right, module.rank)
    small_b, small_a = rounded(b, dtype), rounded(a, dtype)
    missed = product_norm(
        np.concatenate([left, -small_b.astype(np.float64)], 1),
        np.concatenate([right, small_a.astype(np.float64)], 0),
    )
    return Made(small_a, small_b, product_norm(left, right), missed)


def rounded(values: Matrix, dtype: np.dtype[np.generic]) -> Floats:
    """Round to ``dtype`` (float32, bfloat16 or float16) and return as float32."""
    rounded: Floats = values.astype(np.float32).astype(dtype).astype(np.float32)
    return rounded


def _loaded(term: Term, key: str) -> Matrix:
    values: Matrix = term.adapter.weights.read(key).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{term.adapter.folder}: {key} is not finite", "train the adapter again")
    return values
