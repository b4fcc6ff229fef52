"""SCE: select, calculate, erase (Wan et al. 2024, arXiv:2408.07990).

Keep the elements whose deltas vary most between the inputs, weigh each input by the energy of what
is left of its delta, and average per element those whose sign is that of the sum.
"""

import numpy as np
import numpy.typing as npt
from tuneforge_specs.merge import SceMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.magnitude import Bands


def prepare(tensor: Tensor, spec: SceMerge) -> Combine:
    """Rank variances, sum energies, then merge."""
    from tuneforge.merge.kernels.consensus import average_agreeing

    bands = _selection(tensor, tensor.value(spec, "select"))
    energies = np.zeros(len(tensor.inputs))
    for block in tensor.blocks():
        for index, delta in enumerate(_selected(block, bands)):
            energies[index] += float((delta.astype(np.float64) ** 2).sum())
    energies /= tensor.size
    total = float(energies.sum())
    even = np.full(len(energies), 1.0 / len(energies))
    weights = (energies / total if total >= 1e-6 else even).astype(np.float32)
    if bands is not None:
        bands.restart()

    def combine(block: Block) -> Floats:
        deltas = np.stack([delta.reshape(-1) for delta in _selected(block, bands)])
        merged = np.empty(block.base.size, np.float32)
        average_agreeing(deltas, weights, merged)
        return merged.reshape(block.base.shape) + block.base

    return combine


def _variance(block: Block) -> list[Floats]:
    stack = np.stack(list(block.inputs))
    centred = stack - stack.mean(axis=0)
    return [(centred * centred).mean(axis=0)]


def _selection(tensor: Tensor, share: float) -> Bands | None:
    """Return the band of the largest variances; None where all are kept."""
    if share >= 1.0:
        return None
    varying = sum(int(np.count_nonzero(_variance(block)[0])) for block in tensor.blocks())
    keep = int(varying * share)
    return Bands(tensor, [(tensor.size - keep, tensor.size)], _variance)


def _selected(block: Block, bands: Bands | None) -> list[Floats]:
    if bands is None:
        return list(block.inputs)
    mask: npt.NDArray[np.bool_] = bands.trim(block, 0) != 0
    return [np.where(mask, delta, np.float32(0)) for delta in block.inputs]


METHOD = Method(prepare, reads="deltas", paper="arXiv:2408.07990")
