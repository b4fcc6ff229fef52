"""Karcher mean of the inputs' weights on the unit sphere (arXiv:2603.04972; Karcher 1977).

From the normalised average, step along the mean of the logarithms until the step is short; the
result has the mean of the lengths. Every iterate is a combination of the inputs, so the iteration
runs on coefficients.
"""

import math

import numpy as np
import numpy.typing as npt
from tuneforge_specs.merge import KarcherMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.gram import combination, gram

Vector = npt.NDArray[np.float64]


def prepare(tensor: Tensor, spec: KarcherMerge) -> Combine:
    """Iterate on the coefficients of the unit vectors, then scale by the mean length."""

    def view(block: Block) -> list[Floats]:
        return list(block.inputs)

    product = gram(tensor, view)
    norms = np.sqrt(np.diag(product))
    used = norms > spec.tolerance
    coefficients = np.zeros(len(norms))
    if used.any():
        units = product[np.ix_(used, used)] / np.outer(norms[used], norms[used])
        centre = _centre(units, spec)
        coefficients[used] = centre / norms[used] * norms.mean()
    return combination([float(c) for c in coefficients], view, onto_base=False)


def _centre(units: Vector, spec: KarcherMerge) -> Vector:
    """Return the mean as coefficients of the unit vectors, whose inner products are ``units``."""
    share = 1.0 / len(units)
    centre = _unit(np.full(len(units), share), units, spec.tolerance)
    for _ in range(spec.iterations):
        cosines = np.clip(units @ centre, -1.0, 1.0)
        angles = np.arccos(cosines)
        tangent = np.zeros(len(units))
        for index, angle in enumerate(angles):
            if angle < spec.tolerance:
                continue
            log = -cosines[index] * centre
            log[index] += 1.0
            tangent += share * angle / np.sin(angle) * log
        step = math.sqrt(max(float(tangent @ units @ tangent), 0.0))
        if step < spec.tolerance:
            break
        centre = np.cos(step) * centre + np.sin(step) * tangent / step
        centre = _unit(centre, units, spec.tolerance)
    return centre


def _unit(vector: Vector, units: Vector, tolerance: float) -> Vector:
    """Scale to length 1; directions that cancel out give way to the first."""
    length = math.sqrt(max(float(vector @ units @ vector), 0.0))
    if length < tolerance:
        first = np.zeros(len(vector))
        first[0] = 1.0
        return first
    return vector / length


METHOD = Method(
    prepare,
    reads="weights",
    paper="arXiv:2603.04972",
    uses_base=lambda spec: False,  # noqa: ARG005
)
