"""Bring the rows of embeddings and output heads to the ids of one vocabulary.

Each row of each model has an origin: a row of its own, of another model that has the token, or the
mean of the base's rows. Rows are gathered while a tensor is read; nothing is copied beforehand.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuneforge.merge.blocks import Floats, StoredRows, matrix_shape, row_blocks
from tuneforge.merge.model import Model

MEAN = -1
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origins:
    """For each row of one model in the new vocabulary: which model it is from, and which row.

    The model ``MEAN`` stands for the mean of the base's rows.
    """

    models: Indices
    rows: Indices


@dataclass(frozen=True)
class Alignment:
    """The new vocabulary. ``models``: base first; ``origins`` by a model's folder.

    ``tokenizer``: folder whose tokenizer files are carried, ``added``: tokens written into them.
    """

    source: str
    rows: int
    models: tuple[Model, ...]
    labels: tuple[str, ...]
    origins: Mapping[Path, Origins]
    tokenizer: Path
    tensors: frozenset[str]
    added: tuple[Mapping[str, Any], ...] = ()
    new: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0

    def read(self, model: Model, name: str) -> "AlignedRows":
        """Return the rows of a vocabulary tensor (the base's name) of one model."""
        return AlignedRows(self, self.origins[model.folder], name)

    def config(self, base: Model) -> dict[str, Any]:
        """Return what changes in the base's config.json: the size, and whose special ids count."""
        changed: dict[str, Any] = {"vocab_size": self.rows}
        inner = base.config.get("text_config")
        if isinstance(inner, dict) and "vocab_size" in inner:
            nested = {"text_config": inner | {"vocab_size": self.rows}}
            changed = nested | (changed if "vocab_size" in base.config else {})
        chosen = next((m for m in self.models if m.folder == self.tokenizer), base)
        return changed | {key: chosen.config[key] for key in _SPECIAL if key in chosen.config}

    def text(self) -> str:
        """Say in one line what the vocabulary is."""
        text = f"{self.source}: {self.rows:,} rows, {len(self.new):,} of tokens new to the base"
        return f"{text}, {self.left_out:,} plain tokens left out" if self.left_out else text

    def summary(self) -> dict[str, Any]:
        """Describe the vocabulary for merge.json: ``new`` says where each new row is from."""
        return {
            "source": self.source,
            "rows": self.rows,
            "new": dict(self.new),
            "left_out": self.left_out,
        }


class AlignedRows:
    """One vocabulary tensor of one model in the rows of the new vocabulary."""

    multiple = 1

    def __init__(self, alignment: Alignment, origins: Origins, name: str) -> None:
        self._stored = [_stored(model, name) for model in alignment.models]
        self._origins = origins
        self._mean = cache(lambda: _mean(self._stored[0]))

    def rows(self, first: int, last: int) -> Floats:
        """Gather rows ``first:last`` as [last - first, columns]; neighbours are read together."""
        columns = matrix_shape(self._stored[0].tensor.shape)[1]
        out = np.empty((last - first, columns), np.float32)
        models = self._origins.models[first:last]
        rows = self._origins.rows[first:last]
        for start, end in _runs(models, rows):
            which = int(models[start])
            if which == MEAN:
                out[start:end] = self._mean()
            else:
                row = int(rows[start])
                out[start:end] = self._stored[which].rows(row, row + end - start)
        return out


def _stored(model: Model, name: str) -> StoredRows:
    return StoredRows(model.weights, model.weights[model.find(name)])


def _runs(models: Indices, rows: Indices) -> Iterator[tuple[int, int]]:
    """Cut into stretches of one model and consecutive rows."""
    breaks = np.flatnonzero((np.diff(models) != 0) | (np.diff(rows) != 1)) + 1
    edges: Sequence[int] = [0, *breaks.tolist(), len(models)]
    yield from pairwise(edges)


def _mean(stored: StoredRows) -> Floats:
    rows, columns = matrix_shape(stored.tensor.shape)
    total = np.zeros(columns, np.float64)
    for first, last in row_blocks(rows, columns):
        total += stored.rows(first, last).sum(axis=0, dtype=np.float64)
    return np.asarray(total / max(1, rows), np.float32)
