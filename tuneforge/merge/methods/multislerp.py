"""Multi-SLERP (Goddard 2025, goddard.blog/posts/multislerp-wow-what-a-cool-idea).

The unit vectors' weighted mean direction is the centre of a tangent space; the weighted sum of the
tangent vectors there is mapped back to the sphere and given the weighted mean of the lengths. At
that centre the tangent vectors cancel by construction, so the result is the mean direction itself
at the mean length: that is what is computed.
"""

import math

import numpy as np
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import MultislerpMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.gram import combination, gram

_NOTHING = 1e-8


def prepare(tensor: Tensor, spec: MultislerpMerge) -> Combine:
    """Find each input's coefficient. Raises DataError where the weighted directions cancel."""
    onto_base = spec.of == "deltas"

    def view(block: Block) -> list[Floats]:
        return [values - block.base if onto_base else values for values in block.inputs]

    weights = np.array(tensor.weights, np.float64)
    if spec.normalize:
        if abs(weights.sum()) < _NOTHING:
            raise DataError("multislerp: the weights sum to 0", "set normalize = false")
        weights /= weights.sum()
    product = gram(tensor, view)
    norms = np.sqrt(np.diag(product))
    if not norms.any() or len(norms) == 1:
        return combination([1.0] * len(norms), view, onto_base=onto_base)
    scaled = weights / (norms + _NOTHING)
    length = math.sqrt(max(float(scaled @ product @ scaled), 0.0))
    if length < _NOTHING:
        if len(norms) == 2:
            return combination([float(w) for w in weights], view, onto_base=onto_base)
        raise DataError(
            f"multislerp: the weighted directions of {tensor.name} cancel out",
            "use other weights, or another method",
        )
    coefficients = scaled / length * float(norms @ weights)
    return combination([float(c) for c in coefficients], view, onto_base=onto_base)


METHOD = Method(
    prepare,
    reads="weights",
    paper="Goddard 2025",
    uses_base=lambda spec: spec.of == "deltas",
)
