"""Arcee Fusion (Arcee AI 2025): take over the weights whose importance stands out.

Importance is the weight's change times the divergence KL(softmax(row of the input) || softmax(row
of the base)); an element is taken over where it reaches median + 1.5 interquartile ranges.
mergekit estimates the quartiles of large tensors from a sample; here they are exact.
"""

import numpy as np
import numpy.typing as npt
from tuneforge_specs.merge import ArceeFusionMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.magnitude import edges

_EPSILON = 1e-8


def prepare(tensor: Tensor, spec: ArceeFusionMerge) -> Combine:
    """Find the quartiles of the importance, then take over what is above the threshold."""
    del spec
    ranks = [int(share * (tensor.size - 1)) for share in (0.25, 0.5, 0.75)]
    found = edges(tensor, [(0, rank) for rank in ranks], lambda block: [importance(block)])
    lower, median, upper = (_value(bits) for bits, _ in found)
    threshold = np.float32(median + 1.5 * (upper - lower))

    def combine(block: Block) -> Floats:
        taken = importance(block) >= threshold
        return np.where(taken, block.inputs[0], block.base)

    return combine


def importance(block: Block) -> Floats:
    """Return each element's importance; float64 inside a row."""
    tuned, base = block.inputs[0], block.base
    p, q = _softmax(tuned) + _EPSILON, _softmax(base) + _EPSILON
    divergence = np.maximum((p * np.log(p / q)).sum(axis=1, keepdims=True), 0.0)
    return np.asarray(np.abs(tuned - base) * divergence, np.float32)


def _softmax(rows: Floats) -> npt.NDArray[np.float64]:
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _value(bits: int) -> float:
    """Turn the bits of a magnitude back; below the first rank lies zero."""
    return float(np.array(max(bits, 0), np.uint32).view(np.float32))


METHOD = Method(prepare, reads="weights", paper="Arcee AI 2025")
