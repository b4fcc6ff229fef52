"""Base plus weighted deltas (Ilharco et al. 2023, arXiv:2212.04089)."""

from tuneforge_specs.merge import TaskArithmeticMerge

from tuneforge.merge.method import Combine, Method, Tensor
from tuneforge.merge.methods.consensus import add_up


def prepare(tensor: Tensor, spec: TaskArithmeticMerge) -> Combine:
    """Add up the deltas as they are."""
    return add_up(tensor, spec)


METHOD = Method(prepare, reads="deltas", paper="arXiv:2212.04089")
