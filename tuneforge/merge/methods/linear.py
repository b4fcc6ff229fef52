"""Weighted average of weights: a model soup (Wortsman et al. 2022, arXiv:2203.05482)."""

import numpy as np
from tuneforge_specs.merge import LinearMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor


def prepare(tensor: Tensor, spec: LinearMerge) -> Combine:
    """Sum ``weight * weights`` in float32, input by input, and divide by the sum of the weights."""
    total = sum(tensor.weights) if spec.normalize else 1.0
    factors = [np.float32(weight) for weight in tensor.weights]

    def combine(block: Block) -> Floats:
        merged = block.inputs[0] * factors[0]
        for values, factor in zip(block.inputs[1:], factors[1:], strict=True):
            merged += values * factor
        if spec.normalize:
            merged /= np.float32(total)
        return merged

    return combine


METHOD = Method(
    prepare,
    reads="weights",
    paper="arXiv:2203.05482",
    uses_base=lambda spec: False,  # noqa: ARG005
)
