"""The inputs of a merge: full models and adapters, each able to give any tensor's rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tuneforge_specs.settings import Varied

from tuneforge.merge.blocks import Floats, StoredRows
from tuneforge.merge.lora import Fold, Folder, Piece, Replace
from tuneforge.merge.model import Model
from tuneforge.merge.place import Place

if TYPE_CHECKING:
    from tuneforge.merge.vocabulary.align import AlignedRows, Alignment


@dataclass(frozen=True)
class Source:
    """One input. ``pieces`` maps base tensors to an adapter's updates; empty for full weights.

    ``by_peft``: the tensors that PEFT will change, for an adapter of a ``kind`` that it folds.
    ``tokenizer``: its folder, if it holds one. ``alignment``: the vocabulary its rows are read in.
    """

    label: str
    weight: Varied = 1.0
    density: Varied = 1.0
    model: Model | None = None
    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    kind: str = "LoRA"
    by_peft: frozenset[str] = frozenset()
    tokenizer: Path | None = None
    alignment: "Alignment | None" = None

    def weight_at(self, place: Place) -> float:
        """Return how much this input counts in one tensor."""
        return place.value(self.weight, 1.0)

    def density_at(self, place: Place) -> float:
        """Return the share of its delta that is kept in one tensor."""
        return place.value(self.density, 1.0)

    def touches(self, name: str) -> bool:
        """Whether this input may differ from the base in a tensor."""
        return self.model is not None or name in self.pieces or name in self.by_peft

    def rows(self, name: str) -> "Rows":
        """Return a tensor (the base's stored name) as this input has it."""
        if self.model is not None:
            if self.alignment is not None and name in self.alignment.tensors:
                return ModelRows(self.alignment.read(self.model, name))
            return ModelRows(
                StoredRows(self.model.weights, self.model.weights[self.model.find(name)])
            )
        return AdapterRows(self.pieces.get(name, ()))


class Rows(Protocol):
    """One tensor of one input; ``base`` holds the same rows of the base."""

    def full(self, first: int, last: int, base: Floats) -> Floats:
        """Return the input's weights."""

    def delta(self, first: int, last: int, base: Floats) -> Floats:
        """Return what the input adds to the base."""

    @property
    def observers(self) -> list[Folder]:
        """The updates that must see every row of the base first."""


@dataclass(frozen=True)
class ModelRows:
    """One tensor of a full model."""

    stored: "StoredRows | AlignedRows"

    @property
    def observers(self) -> list[Folder]:
        """None: stored weights need no preparation."""
        return []

    def full(self, first: int, last: int, base: Floats) -> Floats:
        """Read the weights."""
        del base
        return self.stored.rows(first, last)

    def delta(self, first: int, last: int, base: Floats) -> Floats:
        """Read the weights and take the base off."""
        return self.stored.rows(first, last) - base


class AdapterRows:
    """One base tensor as an adapter changes it, not rounded to the base's dtype."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = [(piece, _Loaded(piece)) for piece in pieces]

    @property
    def observers(self) -> list[Folder]:
        """The DoRA updates whose norms run across rows."""
        folders = [loaded.folder for _, loaded in self._pieces]
        return [folder for folder in folders if folder is not None and folder.needs_norms]

    def full(self, first: int, last: int, base: Floats) -> Floats:
        """Fold the updates into the base's rows."""
        for _, loaded in self._pieces:
            base = loaded.apply(first, last, base)
        return base

    def folded(self, first: int, last: int, base: Floats, dtype: np.dtype[Any]) -> Floats:
        """Fold the updates in, rounding to ``dtype`` after each, as weights held in it are."""
        from tuneforge.merge.kernels.floats import rounded

        for _, loaded in self._pieces:
            base = rounded(loaded.apply(first, last, base, dtype), dtype)
        return base

    def delta(self, first: int, last: int, base: Floats) -> Floats:
        """Return the exact update, without the rounding of adding it and taking it off again."""
        total = np.zeros_like(base)
        for _, loaded in self._pieces:
            if loaded.folder is not None and loaded.folder.magnitude is None:
                total += loaded.folder.delta(first, last)
            else:
                total += loaded.apply(first, last, base) - base
        return total


class _Loaded:
    """An update with its factors in memory; whole new tensors stay on disk."""

    def __init__(self, piece: Piece) -> None:
        self.folder = Folder(piece) if isinstance(piece, Fold) else None
        self._scale = np.float32(1.0)
        self._adds = False
        if not isinstance(piece, Fold):
            weights = piece.adapter.weights
            self._stored = StoredRows(weights, weights[piece.key])
        if not isinstance(piece, Fold | Replace):
            self._scale, self._adds = np.float32(piece.scaling), True

    def apply(
        self, first: int, last: int, base: Floats, dtype: np.dtype[Any] | None = None
    ) -> Floats:
        if self.folder is not None:
            return self.folder.apply(first, base, dtype)
        values = self._stored.rows(first, last)
        return base + values * self._scale if self._adds else values
