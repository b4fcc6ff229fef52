"""Model Stock: interpolate base and average by the angle between deltas (arXiv:2403.19522).

With N models and the mean cosine c between their deltas, t = N c / (1 + (N - 1) c); the result is
``t * average + (1 - t) * base``. Deltas that oppose each other exactly keep the base.
"""

from itertools import combinations

import numpy as np
from tuneforge_specs.merge import ModelStockMerge

from tuneforge.merge.method import Block, Combine, Floats, Method, Tensor
from tuneforge.merge.methods.gram import combination, gram


def ratio(cosine: float, count: int) -> float:
    """Return the share of the average for ``count`` models."""
    divisor = 1.0 + (count - 1) * cosine
    return 0.0 if abs(divisor) < 1e-6 else count * cosine / divisor


def prepare(tensor: Tensor, spec: ModelStockMerge) -> Combine:
    """Find the angle of the tensor, or of each row."""
    if spec.rows:
        return _by_row

    def view(block: Block) -> list[Floats]:
        return list(block.inputs)

    product = gram(tensor, view)
    norms = np.sqrt(np.diag(product))
    count = len(norms)
    cosines = [
        float(np.clip(product[a, b] / max(norms[a] * norms[b], 1e-6), -1, 1))
        for a, b in combinations(range(count), 2)
    ]
    share = ratio(float(np.mean(cosines)), count) / count
    return combination([share] * count, view, onto_base=True)


def _by_row(block: Block) -> Floats:
    deltas = [values.astype(np.float64) for values in block.inputs]
    norms = [np.linalg.norm(delta, axis=1) for delta in deltas]
    cosines = [
        np.clip((deltas[a] * deltas[b]).sum(axis=1) / np.maximum(norms[a] * norms[b], 1e-6), -1, 1)
        for a, b in combinations(range(len(deltas)), 2)
    ]
    mean = np.mean(cosines, axis=0)
    shares = np.array([ratio(float(cosine), len(deltas)) for cosine in mean])
    merged = block.base + shares[:, None] * np.mean(deltas, axis=0)
    return np.asarray(merged, np.float32)


METHOD = Method(prepare, reads="deltas", paper="arXiv:2403.19522")
