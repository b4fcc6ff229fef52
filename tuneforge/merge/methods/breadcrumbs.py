"""Model Breadcrumbs (Davari and Belilovsky 2024, arXiv:2312.06795).

Of each delta the ``gamma`` share of largest elements is dropped as outliers, then the smallest
until ``density`` of all is left. A density of 1 trims nothing.
"""

from tuneforge_specs.merge import BreadcrumbsMerge, BreadcrumbsTiesMerge

from tuneforge.merge.method import Combine, Method, Tensor
from tuneforge.merge.methods.consensus import add_up, elect
from tuneforge.merge.methods.magnitude import Bands


def band(size: int, density: float, gamma: float) -> tuple[int, int]:
    """Return the ascending ranks that are kept; fewer outliers go where few elements stay."""
    if density >= 1.0:
        return 0, size
    keep = int(density * size)
    first = max(0, size - keep - int(gamma * size))
    return first, first + keep


def _bands(tensor: Tensor, spec: BreadcrumbsMerge | BreadcrumbsTiesMerge) -> Bands:
    gamma = tensor.value(spec, "gamma")
    return Bands(tensor, [band(tensor.size, d, gamma) for d in tensor.densities])


def prepare(tensor: Tensor, spec: BreadcrumbsMerge) -> Combine:
    """Trim both ends, add up."""
    return add_up(tensor, spec, _bands(tensor, spec).trim)


def prepare_ties(tensor: Tensor, spec: BreadcrumbsTiesMerge) -> Combine:
    """Trim both ends, elect signs."""
    return elect(tensor, spec, _bands(tensor, spec).trim)


METHOD = Method(prepare, reads="deltas", paper="arXiv:2312.06795")
TIES = Method(prepare_ties, reads="deltas", paper="arXiv:2312.06795")
