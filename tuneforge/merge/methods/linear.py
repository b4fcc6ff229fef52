"""Weighted average of weights: a model soup (Wortsman et al. 2022, arXiv:2203.05482)."""

from collections.abc import Sequence

import numpy as np
from tuneforge_specs.merge import GreedySoupMerge, LinearMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor


def prepare(tensor: Tensor, spec: LinearMerge) -> Combine:
    """Sum ``weight * weights`` in float32, input by input, and divide by the sum of the weights."""
    return _average(tensor.weights, sum(tensor.weights) if spec.normalize else 1.0)


def prepare_soup(tensor: Tensor, spec: GreedySoupMerge) -> Combine:
    """Average the ingredients that were accepted, all alike."""
    del spec
    return _average([1.0] * len(tensor.inputs), float(len(tensor.inputs)))


def _average(weights: Sequence[float], total: float) -> Combine:
    factors = [np.float32(weight) for weight in weights]

    def combine(block: Block) -> Floats:
        from tuneforge.merge.kernels.mix import mixed

        first, *others = block.inputs
        if not others:
            merged = first * factors[0]
        else:
            merged = mixed(first, factors[0], others[0], factors[1])
        for values, factor in zip(others[1:], factors[2:], strict=True):
            merged += values * factor
        if total != 1.0:
            merged /= np.float32(total)
        return merged

    return combine


METHOD = Method(
    prepare,
    reads="weights",
    paper="arXiv:2203.05482",
    uses_base=lambda spec: False,  # noqa: ARG005
)
SOUP = Method(
    prepare_soup,
    reads="weights",
    paper="arXiv:2203.05482, greedy",
    uses_base=lambda spec: False,  # noqa: ARG005
)
