"""DARE: drop and rescale (Yu et al. 2024, arXiv:2311.03099).

Each element of a delta is kept with probability ``density`` and divided by it, which keeps the
expected delta. The mask depends on the build's seed, the tensor's name, the input's place and the
element's index only.
"""

import numpy as np
from tuneforge_specs.merge import DareLinearMerge, DareMerge, DareTiesMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.consensus import Trim, add_up, elect


def dropper(tensor: Tensor, spec: DareMerge) -> Trim:
    """Return the function that drops and rescales one input's delta."""
    from tuneforge.merge.kernels.random import keep_random, stream_key

    keys = [
        np.uint64(stream_key(tensor.seed, "dare", tensor.name, index))
        for index in range(len(tensor.densities))
    ]

    def trim(block: Block, index: int) -> Floats:
        density = tensor.densities[index]
        values = np.ascontiguousarray(block.inputs[index])
        if density >= 1.0:
            return values
        out = np.empty_like(values)
        factor = np.float32(1.0 / density if spec.rescale and density > 0 else 1.0)
        keep_random(values.reshape(-1), keys[index], block.offset, density, factor, out.reshape(-1))
        return out

    return trim


def prepare_linear(tensor: Tensor, spec: DareLinearMerge) -> Combine:
    """Drop, rescale, add up."""
    return add_up(tensor, spec, dropper(tensor, spec))


def prepare_ties(tensor: Tensor, spec: DareTiesMerge) -> Combine:
    """Drop, rescale, elect signs."""
    return elect(tensor, spec, dropper(tensor, spec))


LINEAR = Method(prepare_linear, reads="deltas", paper="arXiv:2311.03099")
TIES = Method(prepare_ties, reads="deltas", paper="arXiv:2311.03099")
