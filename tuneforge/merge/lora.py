"""Fold LoRA factors into base weights with the result of PEFT's ``merge_and_unload``, bit for bit.

PEFT loads adapters of any dtype as float32 (``autocast_adapter_dtype``), computes
``(B @ A) * scaling`` in float32, and adds it to the weight in place: the sum is taken in the wider
dtype and rounded once to the base's. DoRA instead replaces the weight W by
``magnitude / norm(W + delta) * (W + delta)`` in float32, rounded once (Liu et al. 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tuneforge_specs.errors import DataError

from tuneforge.merge.adapter import Adapter, Factors
from tuneforge.merge.model import Model

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fold:
    """A low-rank update of one weight matrix. ``across``: the matrix is stored transposed."""

    adapter: Adapter
    factors: Factors
    across: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Shift:
    """An update of a bias: ``bias + lora_bias * scaling``."""

    adapter: Adapter
    key: str
    scaling: float


@dataclass(frozen=True)
class Replace:
    """A whole new tensor (``modules_to_save``, trained biases, resized embeddings)."""

    adapter: Adapter
    key: str


Piece = Fold | Shift | Replace


def pieces_for(
    base: Model, adapter: Adapter, weight: Callable[[str], float] = lambda _: 1.0
) -> dict[str, list[Piece]]:
    """Map stored base names to what the adapter does to them, in PEFT's order.

    ``weight`` gives the factor of the update of each of them.

    Raises DataError when the adapter does not fit the base.
    """
    pieces: dict[str, list[Piece]] = {}
    # An adapter of an embedding saves that embedding too, from before its update.
    for name, key in adapter.replaced.items():
        stored = _stored(base, adapter, name)
        if stored == base.embedding and base.is_head(name) and key not in adapter.beneath:
            # Trained apart from the embedding it was tied to: from now on a tensor of its own.
            pieces[name] = [Replace(adapter, key)]
            continue
        if adapter.weights[key].shape != base.weights[stored].shape:
            raise _mismatch(adapter, name, adapter.weights[key].shape, base, stored)
        pieces.setdefault(stored, []).append(Replace(adapter, key))
    for module, factors in adapter.factors.items():
        name = _stored(base, adapter, f"{module}.weight")
        across = _orientation(base, adapter, factors, name)
        pieces.setdefault(name, []).append(Fold(adapter, factors, across, weight(name)))
        if factors.bias:
            bias = _stored(base, adapter, f"{module}.bias")
            pieces.setdefault(bias, []).append(
                Shift(adapter, factors.bias, factors.scaling * weight(bias))
            )
    return pieces


def _stored(base: Model, adapter: Adapter, name: str) -> str:
    stored = base.find(name)
    if not stored:
        raise DataError(
            f"{adapter.folder}: adapts {name}, which {base.folder} does not have",
            "merge into the base it was trained on"
            + (f" ({named})" if (named := adapter.config.get("base_model_name_or_path")) else ""),
        )
    return stored


def _orientation(base: Model, adapter: Adapter, factors: Factors, name: str) -> bool:
    rows, columns = adapter.weights[factors.b].shape[0], adapter.weights[factors.a].shape[1]
    shape = base.weights[name].shape
    if factors.embedding:
        fits, across = shape == (columns, rows), True
    else:
        straight, turned = shape == (rows, columns), shape == (columns, rows)
        fits = straight or turned
        across = adapter.transposed if straight and turned else turned
        fits = fits and (across <= adapter.transposed)
    if not fits:
        raise _mismatch(adapter, factors.module, (rows, columns), base, name)
    return across


def _mismatch(
    adapter: Adapter, name: str, shape: tuple[int, ...], base: Model, stored: str
) -> DataError:
    return DataError(
        f"{adapter.folder}: {name} has shape {shape}, {base.folder} has {stored} with "
        f"{base.weights[stored].shape}",
        "merge into the base it was trained on, with the same vocabulary",
    )


class Folder:
    """The factors of one Fold, loaded, applied to blocks of rows of the stored matrix."""

    def __init__(self, fold: Fold) -> None:
        from tuneforge.merge.kernels.floats import to_float32

        factors, weights = fold.factors, fold.adapter.weights

        def load(key: str) -> Floats:
            stored = weights.read(key)
            return to_float32(stored.reshape(-1)).reshape(stored.shape)

        a, b = load(factors.a), load(factors.b)
        # Transposing the product swaps the factors; each element sums the same terms in order.
        left, right = (a.T, b.T) if fold.across else (b, a)
        self.left, self.right = np.ascontiguousarray(left), np.ascontiguousarray(right)
        self.scale = np.float32(factors.scaling * fold.weight)
        self.across = fold.across
        self._embedding = factors.embedding
        self.magnitude = load(factors.magnitude).reshape(-1) if factors.magnitude else None
        self._norms: Floats | None = None

    @property
    def needs_norms(self) -> bool:
        """Whether every row must be seen (``observe``) before any can be folded."""
        return self.magnitude is not None and self.across

    def norm(self) -> float:
        """Frobenius norm of the update, from the factors' Gram matrices in float64."""
        left = self.left.astype(np.float64)
        right = self.right.astype(np.float64)
        square = np.einsum("mi,mj->ij", left, left) * np.einsum("in,jn->ij", right, right)
        return abs(float(self.scale)) * float(np.sqrt(max(square.sum(), 0.0)))

    def delta(self, first: int, last: int) -> Floats:
        """Return rows ``first:last`` of the update [rows, columns]."""
        from tuneforge.merge.kernels.lora import product

        return product(self.left[first:last], self.right, self.scale)

    def observe(self, first: int, weights: Floats) -> None:
        """Add the column squares of a block of rows, for DoRA on a transposed matrix."""
        from tuneforge.merge.kernels.lora import add_column_squares

        if self._norms is None:
            self._norms = np.zeros(weights.shape[1], np.float32)
        summed = weights + self.delta(first, first + weights.shape[0])
        add_column_squares(summed, self._norms)

    def apply(self, first: int, weights: Floats, dtype: np.dtype[Any] | None = None) -> Floats:
        """Return a block of rows [rows, columns] with the update folded in.

        The caller rounds the result to ``dtype``, that of the base. Given one, the update of an
        embedding is rounded to it before the sum too, as PEFT does for embeddings alone.
        """
        delta = self.delta(first, first + weights.shape[0])
        if self.magnitude is None:
            if self._embedding and dtype is not None:
                from tuneforge.merge.kernels.floats import rounded

                delta = rounded(delta, dtype)
            return weights + delta
        from tuneforge.merge.kernels.lora import row_norms

        summed = weights + delta
        if self.across:
            if self._norms is None:
                raise RuntimeError("observe() comes before apply()")
            return (self.magnitude / np.sqrt(self._norms)) * summed
        norms = np.empty(summed.shape[0], np.float32)
        row_norms(summed, norms)
        return (self.magnitude[first : first + len(norms)] / norms).reshape(-1, 1) * summed
