"""What a merge method is: a function that prepares one tensor and then combines its blocks.

A method reads a tensor as often as its statistics need (``Tensor.blocks`` may be iterated again)
and returns a function from a block of rows to the merged rows. Blocks come in order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tuneforge_specs.model import Model

from tuneforge.merge.base import BaseRows
from tuneforge.merge.blocks import row_blocks
from tuneforge.merge.place import Place
from tuneforge.merge.sources import Rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Rows ``first:last`` [rows, columns]. ``inputs``: deltas or weights, as the method reads.

    ``base`` stands in for its shape only where the method does not use it.
    """

    first: int
    last: int
    base: Floats
    inputs: Sequence[Floats]

    @property
    def offset(self) -> int:
        """Index of the block's first element in the flat tensor."""
        return self.first * int(self.base.shape[1])


@dataclass(frozen=True)
class Tensor:
    """One tensor to merge: its base, its inputs, and what the plan says about each."""

    name: str
    rows: int
    columns: int
    base: BaseRows
    inputs: Sequence[Rows]
    weights: Sequence[float]
    densities: Sequence[float]
    reads: Literal["deltas", "weights"]
    uses_base: bool = True
    seed: int = 0
    depth: float = 0.0
    ready: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.rows * self.columns

    def value(self, spec: Model, key: str) -> float:
        """Return what the number ``key`` of a merge is for this tensor."""
        default = type(spec).model_fields[key].default
        return Place(self.name, self.depth).value(getattr(spec, key), default)

    def blocks(self) -> Iterator[Block]:
        """Read the tensor once, block by block, in order."""
        self._observe()
        for first, last in row_blocks(self.rows, self.columns, self.base.multiple):
            yield self.block(first, last)

    def block(self, first: int, last: int) -> Block:
        """Read one block."""
        if not self.uses_base:
            nothing = np.empty((0, 0), np.float32)
            inputs = [rows.full(first, last, nothing) for rows in self.inputs]
            return Block(first, last, inputs[0], inputs)
        base = self.base.rows(first, last)
        if self.reads == "deltas":
            inputs = [rows.delta(first, last, base) for rows in self.inputs]
        else:
            inputs = [rows.full(first, last, base) for rows in self.inputs]
        return Block(first, last, base, inputs)

    def _observe(self) -> None:
        folders = [folder for rows in self.inputs for folder in rows.observers]
        if not folders or "observed" in self.ready:
            return
        for first, last in row_blocks(self.rows, self.columns, self.base.multiple):
            base = self.base.rows(first, last)
            for folder in folders:
                folder.observe(first, base)
        self.ready.add("observed")


Combine = Callable[[Block], Floats]


@dataclass(frozen=True)
class Method:
    """``prepare(tensor, spec)`` returns the function that merges each block.

    ``uses_base(spec)`` says whether the base's weights enter the result.
    """

    prepare: Callable[[Tensor, Any], Combine]
    reads: Literal["deltas", "weights"]
    paper: str
    uses_base: Callable[[Any], bool] = lambda spec: True  # noqa: ARG005
