"""TIES: trim, elect sign, disjoint merge (Yadav et al. 2023, arXiv:2306.01708).

Each delta keeps its ``density`` share of largest magnitudes, at least one element.
"""

from tuneforge_specs.merge import TiesMerge

from tuneforge.merge.method import Combine, Method, Tensor
from tuneforge.merge.methods.consensus import elect
from tuneforge.merge.methods.magnitude import Bands


def prepare(tensor: Tensor, spec: TiesMerge) -> Combine:
    """Find each delta's threshold, then elect and merge what is above it."""
    ranges = [(tensor.size - kept(tensor.size, d), tensor.size) for d in tensor.densities]
    return elect(tensor, spec, Bands(tensor, ranges).trim)


def kept(size: int, density: float) -> int:
    """Return how many of ``size`` elements a density keeps."""
    return max(1, int(density * size)) if density > 0 else 0


METHOD = Method(prepare, reads="deltas", paper="arXiv:2306.01708")
