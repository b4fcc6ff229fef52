"""The weights that deltas are added to: as stored, or as an NF4 base computes with them."""

import math
import re
from dataclasses import dataclass

import numpy as np
from tuneforge_specs.errors import DataError

from tuneforge.merge.blocks import Floats, StoredRows, matrix_shape, row_blocks
from tuneforge.merge.model import Model
from tuneforge.merge.vocabulary.align import AlignedRows, Alignment
from tuneforge.weights import nf4, numpy_dtype

_NOT_LINEAR = re.compile(r"embed|wte|wpe|lm_head|embed_out|norm|ln_")


@dataclass(frozen=True)
class Onto:
    """Which base weights count. ``dtype``: safetensors code of the NF4 compute dtype, or empty."""

    dtype: str = ""

    @property
    def name(self) -> str:
        """What the plan and merge.json say."""
        return "dequantised" if self.dtype else "original"


def check_dequantisable(model: Model) -> None:
    """Refuse bases whose quantised modules cannot be told from the tensors alone."""
    config = model.config
    if any(config.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts")):
        raise DataError(
            f"{model.folder}: a mixture of experts; which of its tensors NF4 covers depends on the "
            "version of transformers",
            'merge with onto = "original"',
        )
    if str(config.get("model_type")) in {"gpt2", "gptj", "gpt_bigcode", "openai-gpt"}:
        raise DataError(
            f"{model.folder}: {config['model_type']} keeps linear weights transposed, NF4 of those "
            "is not reproduced",
            'merge with onto = "original"',
        )


def is_quantised(name: str, shape: tuple[int, ...]) -> bool:
    """Whether transformers holds this tensor in NF4: linear weights other than the output head."""
    return len(shape) == 2 and name.endswith(".weight") and not _NOT_LINEAR.search(name)


class Nf4Rows:
    """The rows of a linear weight as dequantised from NF4.

    The magnitudes of all blocks are found first: their own quantisation needs their mean.
    """

    def __init__(self, stored: StoredRows, dtype: str) -> None:
        self._stored = stored
        self._dtype = numpy_dtype(dtype)
        rows, self._columns = matrix_shape(stored.tensor.shape)
        self.multiple = nf4.BLOCK // math.gcd(self._columns, nf4.BLOCK)
        parts = [
            nf4.block_maxima(self._rounded(first, last).reshape(-1))
            for first, last in row_blocks(rows, self._columns, self.multiple)
        ]
        self._maxima = np.concatenate(parts)
        self._restored = nf4.restored(*nf4.nested(self._maxima))

    def _rounded(self, first: int, last: int) -> Floats:
        from tuneforge.merge.kernels.floats import rounded

        return rounded(self._stored.rows(first, last), self._dtype)

    def rows(self, first: int, last: int) -> Floats:
        """Return rows that start on a whole quantisation block."""
        from tuneforge.merge.kernels.floats import rounded

        values = self._rounded(first, last).reshape(-1)
        start = first * self._columns // nf4.BLOCK
        blocks = slice(start, start + -(-values.size // nf4.BLOCK))
        codes = nf4.quantise(values, self._maxima[blocks])
        restored = nf4.dequantise(codes, self._restored[blocks])
        return rounded(restored, self._dtype).reshape(last - first, self._columns)


BaseRows = StoredRows | Nf4Rows | AlignedRows


def base_rows(model: Model, name: str, onto: Onto, alignment: Alignment | None = None) -> BaseRows:
    """Return one base tensor as the merge reads it."""
    if alignment is not None and name in alignment.tensors:
        return alignment.read(model, name)
    stored = StoredRows(model.weights, model.weights[name])
    if onto.dtype and is_quantised(name, model.weights[name].shape):
        return Nf4Rows(stored, onto.dtype)
    return stored
