"""Products of thin matrices, without ever multiplying them out."""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
_ROUNDING = 1e-14


def truncated(left: Matrix, right: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Return the best factors of a rank for ``left @ right`` ([m, r] @ [r, n]).

    With left = Q R and right' = P T, the singular values of the product are those of R T', which is
    [r, r] (Eckart and Young 1936). Each factor takes the root of the singular values.
    """
    outer, upper = np.linalg.qr(left)
    inner, lower = np.linalg.qr(right.T)
    u, s, v = np.linalg.svd(upper @ lower.T, full_matrices=False)
    root = np.sqrt(s[:rank])
    return outer @ (u[:, :rank] * root), (inner @ (v[:rank].T * root)).T


def product_norm(left: Matrix, right: Matrix) -> float:
    """Return the Frobenius norm of ``left @ right``; 0 where only rounding is left of it."""
    upper: Matrix = np.linalg.qr(left)[1]
    lower: Matrix = np.linalg.qr(right.T)[1]
    norm = float(np.linalg.norm(upper @ lower.T))
    return norm if norm > _ROUNDING * np.linalg.norm(upper) * np.linalg.norm(lower) else 0.0
