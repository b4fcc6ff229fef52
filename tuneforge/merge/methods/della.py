"""DELLA: drop by magnitude rank and rescale (Deep et al. 2024, arXiv:2406.11617).

In each row the chance to be kept rises evenly with the rank of the magnitude, from
``density - epsilon`` to ``density + epsilon``; what is kept is divided by its chance.
"""

import numpy as np
from tuneforge_specs.merge import DellaLinearMerge, DellaMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.consensus import Trim, add_up, elect


def chances(delta: Floats, density: float, epsilon: float) -> Floats:
    """Return each element's chance to be kept; equal magnitudes rank by position."""
    from tuneforge.merge.kernels.rank import spread_by_rank

    columns = delta.shape[1]
    if columns == 1:
        return np.full_like(delta, density)
    ramp = np.linspace(density - epsilon, density + epsilon, columns).astype(np.float32)
    out = np.empty_like(delta)
    spread_by_rank(delta, ramp, out)
    return out


def _dropper(tensor: Tensor, spec: DellaMerge | DellaLinearMerge) -> Trim:
    from tuneforge.merge.kernels.random import keep_each, stream_key

    epsilon = tensor.value(spec, "epsilon")
    keys = [
        np.uint64(stream_key(tensor.seed, "della", tensor.name, index))
        for index in range(len(tensor.densities))
    ]

    def trim(block: Block, index: int) -> Floats:
        density = tensor.densities[index]
        values = np.ascontiguousarray(block.inputs[index])
        if density >= 1.0:
            return values
        out = np.zeros_like(values)
        if density > 0.0:
            odds = chances(values, density, epsilon).reshape(-1)
            flat = out.reshape(-1)
            keep_each(values.reshape(-1), keys[index], block.offset, odds, spec.rescale, flat)
        return out

    return trim


def prepare(tensor: Tensor, spec: DellaMerge) -> Combine:
    """Drop by rank, elect signs."""
    return elect(tensor, spec, _dropper(tensor, spec))


def prepare_linear(tensor: Tensor, spec: DellaLinearMerge) -> Combine:
    """Drop by rank, add up."""
    return add_up(tensor, spec, _dropper(tensor, spec))


METHOD = Method(prepare, reads="deltas", paper="arXiv:2406.11617")
LINEAR = Method(prepare_linear, reads="deltas", paper="arXiv:2406.11617")
