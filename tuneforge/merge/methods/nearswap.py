"""NearSwap (alchemonaut 2024, huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001).

Each weight of the base moves to the input's where they differ by at most ``t``, else by ``t``.
"""

import numpy as np
from tuneforge_specs.merge import NearswapMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor


def prepare(tensor: Tensor, spec: NearswapMerge) -> Combine:
    """Interpolate each element by ``t / difference``, at most 1."""
    reach = np.float32(tensor.value(spec, "t"))

    def combine(block: Block) -> Floats:
        other = block.inputs[0]
        apart = np.maximum(np.abs(block.base - other), np.float32(1e-6))
        share = np.minimum(reach / apart, np.float32(1.0))
        return np.asarray(share * other + (np.float32(1.0) - share) * block.base, np.float32)

    return combine


METHOD = Method(prepare, reads="weights", paper="alchemonaut 2024")
