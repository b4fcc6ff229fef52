"""NuSLERP: spherical interpolation of two deltas (or weights) by their relative weight.

Defined by mergekit (github.com/arcee-ai/mergekit); the arc is Shoemake's (1985). Where the two
are parallel to rounding the arc is a line.
"""

import math

import numpy as np
from tuneforge_specs.merge import NuslerpMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.gram import combination, gram

_PARALLEL = 1e-16


def prepare(tensor: Tensor, spec: NuslerpMerge) -> Combine:
    """Find the arc's coefficients, for the tensor or for each row."""
    onto_base = spec.of == "deltas"

    def view(block: Block) -> list[Floats]:
        return [values - block.base if onto_base else values for values in block.inputs]

    total = sum(tensor.weights)
    t = 0.5 if abs(total) < 1e-6 else tensor.weights[1] / total
    if spec.rows:
        return _by_row(t, onto_base=onto_base)
    product = gram(tensor, view)
    lengths = math.sqrt(product[0, 0]) * math.sqrt(product[1, 1])
    cosine = product[0, 1] / lengths if lengths else 0.0
    return combination(_arc(max(-1.0, min(1.0, cosine)), t), view, onto_base=onto_base)


def _arc(cosine: float, t: float) -> tuple[float, float]:
    if 1.0 - cosine * cosine <= _PARALLEL:
        return 1.0 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _by_row(t: float, *, onto_base: bool) -> Combine:
    def combine(block: Block) -> Floats:
        first, second = (
            (values - block.base if onto_base else values).astype(np.float64)
            for values in block.inputs
        )
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        dots = (first * second).sum(axis=1)
        cosines = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
        arcs = np.array([_arc(float(cosine), t) for cosine in np.clip(cosines, -1, 1)])
        merged = arcs[:, :1] * first + arcs[:, 1:] * second
        if onto_base:
            merged += block.base
        return merged.astype(np.float32)

    return combine


METHOD = Method(
    prepare,
    reads="weights",
    paper="mergekit; Shoemake 1985",
    uses_base=lambda spec: spec.of == "deltas",
)
