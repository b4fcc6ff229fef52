"""Spherical linear interpolation of two tensors taken as vectors (Shoemake 1985)."""

import math

import numpy as np
from tuneforge_specs.merge import SlerpMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor

# Above this cosine the arc is a line to rounding, and its formula divides by almost zero.
COLLINEAR = 0.9995


def prepare(tensor: Tensor, spec: SlerpMerge) -> Combine:
    """Find the angle between the two tensors, then mix them with the two arc coefficients."""
    first, second = arc(_angle(tensor), tensor.value(spec, "t"))
    a, b = np.float32(first), np.float32(second)

    def combine(block: Block) -> Floats:
        from tuneforge.merge.kernels.mix import mixed

        start, end = _pair(block)
        return mixed(start, a, end, b)

    return combine


def arc(cosine: float, t: float) -> tuple[float, float]:
    """Return the coefficients of the two ends at ``t``; those of a line where they are parallel."""
    if abs(cosine) > COLLINEAR:
        return 1.0 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _pair(block: Block) -> tuple[Floats, Floats]:
    if len(block.inputs) == 1:
        return block.base, block.inputs[0]
    return block.inputs[0], block.inputs[1]


def _angle(tensor: Tensor) -> float:
    from tuneforge.merge.kernels.reduce import products

    product = left = right = 0.0
    for block in tensor.blocks():
        start, end = (np.ascontiguousarray(values).reshape(-1) for values in _pair(block))
        sums = products(start, end)
        product, left, right = product + sums[0], left + sums[1], right + sums[2]
    lengths = math.sqrt(left) * math.sqrt(right)
    return max(-1.0, min(1.0, product / lengths)) if lengths > 0 else 1.0


METHOD = Method(
    prepare,
    reads="weights",
    paper="Shoemake 1985, doi:10.1145/325334.325242",
    uses_base=lambda spec: len(spec.inputs) == 1,
)
