"""Add deltas to the base, with or without electing a sign for each element first.

Shared by task arithmetic, TIES, DARE, DELLA and Breadcrumbs, which differ in what they trim.
"""

from collections.abc import Callable

import numpy as np
from tuneforge_specs.merge import TaskVectorMerge

from tuneforge.merge.method import Block, Combine, Floats, Tensor

Trim = Callable[[Block, int], Floats]


def untrimmed(block: Block, index: int) -> Floats:
    """Return an input's delta as it is."""
    return block.inputs[index]


def add_up(tensor: Tensor, spec: TaskVectorMerge, trim: Trim = untrimmed) -> Combine:
    """Return base + lambda * sum(weight * delta), divided by the sum of the weights if asked."""
    total = sum(tensor.weights)
    divisor = total if spec.normalize and abs(total) >= 1e-8 else 1.0
    factors = [np.float32(weight) for weight in tensor.weights]
    scale = tensor.value(spec, "scale")

    def combine(block: Block) -> Floats:
        merged = trim(block, 0) * factors[0]
        for index, factor in enumerate(factors[1:], start=1):
            merged += trim(block, index) * factor
        if divisor != 1.0:
            merged /= np.float32(divisor)
        if scale != 1.0:
            merged *= np.float32(scale)
        merged += block.base
        return merged

    return combine


def elect(tensor: Tensor, spec: TaskVectorMerge, trim: Trim = untrimmed) -> Combine:
    """Keep, per element, the weighted deltas whose sign is that of their sum, and add those up.

    A sum of zero counts as positive. With ``normalize`` the result is divided by the weights of
    the deltas that were kept (the disjoint mean of the TIES paper).
    """
    from tuneforge.merge.kernels.consensus import elect_signs

    weights = np.array(tensor.weights, np.float32)
    scale = tensor.value(spec, "scale")

    def combine(block: Block) -> Floats:
        size = block.base.size
        deltas = np.empty((len(weights), size), np.float32)
        for index, weight in enumerate(weights):
            np.multiply(trim(block, index).reshape(-1), weight, out=deltas[index])
        merged = np.empty(size, np.float32)
        elect_signs(deltas, weights, spec.normalize, merged)
        if scale != 1.0:
            merged *= np.float32(scale)
        merged += block.base.reshape(-1)
        return merged.reshape(block.base.shape)

    return combine
