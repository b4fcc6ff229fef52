"""How the inputs of a merge relate: the size of their deltas, and where they pull apart."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tuneforge.merge.base import base_rows
from tuneforge.merge.blocks import matrix_shape
from tuneforge.merge.method import Tensor
from tuneforge.merge.methods import trimmed_share
from tuneforge.merge.plan import MergePlan, TensorPlan
from tuneforge.weights.dtypes import MERGEABLE

_LAYER = re.compile(r"\.(?:layers|h|blocks|block)\.(\d+)\.")


@dataclass
class Relation:
    """Sums over the tensors of one layer; ``products`` [inputs, inputs] of the deltas."""

    layer: str
    inputs: int
    elements: int = 0
    base: float = 0.0
    products: npt.NDArray[np.float64] = field(init=False)
    agreeing: npt.NDArray[np.int64] = field(init=False)
    both: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.products = np.zeros((self.inputs, self.inputs))
        self.agreeing = np.zeros((self.inputs, self.inputs), np.int64)
        self.both = np.zeros((self.inputs, self.inputs), np.int64)

    def norm(self, index: int) -> float:
        """L2 norm of one input's delta in this layer."""
        return float(np.sqrt(self.products[index, index]))

    def relative(self, index: int) -> float:
        """That norm over the norm of the base's weights."""
        return self.norm(index) / float(np.sqrt(self.base)) if self.base else 0.0

    def cosine(self, first: int, second: int) -> float:
        """Cosine between two deltas; 0 where one is zero."""
        lengths = self.norm(first) * self.norm(second)
        return float(self.products[first, second]) / lengths if lengths else 0.0

    def agreement(self, first: int, second: int) -> float:
        """Share of elements with one sign in both, of those that neither leaves alone."""
        both = int(self.both[first, second])
        return float(self.agreeing[first, second]) / both if both else 0.0


@dataclass(frozen=True)
class Analysis:
    """Relations by layer, in order, and the share of each input's delta that the method drops."""

    labels: tuple[str, ...]
    layers: tuple[Relation, ...]
    trimmed: tuple[float, ...]

    def rows(self) -> Iterator[dict[str, object]]:
        """Give one plain row a layer."""
        for layer in self.layers:
            pairs = [(a, b) for a in range(layer.inputs) for b in range(a + 1, layer.inputs)]
            yield {
                "layer": layer.layer,
                "elements": layer.elements,
                "norms": [round(layer.norm(i), 6) for i in range(layer.inputs)],
                "relative": [round(layer.relative(i), 6) for i in range(layer.inputs)],
                "cosine": {f"{a},{b}": round(layer.cosine(a, b), 4) for a, b in pairs},
                "agreement": {f"{a},{b}": round(layer.agreement(a, b), 4) for a, b in pairs},
            }


def analyse(plan: MergePlan) -> Analysis:
    """Read every tensor that an input touches once; nothing is written."""
    layers: dict[str, Relation] = {}
    densities: list[list[tuple[float, int]]] = [[] for _ in plan.sources]
    for tensor in plan.tensors:
        touching = [source for source in plan.sources if source.touches(tensor.name)]
        known = plan.base.weights.get(tensor.name)
        if not touching or known is None or known.dtype not in MERGEABLE:
            continue
        layer = layer_of(tensor.name)
        relation = layers.setdefault(layer, Relation(layer, len(plan.sources)))
        _add(plan, tensor, relation)
        for kept, source in zip(densities, plan.sources, strict=True):
            kept.append((source.density_at(tensor.place), tensor.entry.nbytes))
    trimmed = trimmed_share(plan.spec, [_mean(kept) for kept in densities])
    labels = tuple(source.label for source in plan.sources)
    return Analysis(labels, tuple(layers.values()), tuple(trimmed))


def _mean(weighted: Sequence[tuple[float, int]]) -> float:
    total = sum(weight for _, weight in weighted)
    return sum(value * weight for value, weight in weighted) / total if total else 1.0


def layer_of(name: str) -> str:
    """Return the number of the layer a tensor is in, or its own stem outside of layers."""
    match = _LAYER.search(f".{name}")
    return match[1] if match else name.removesuffix(".weight").removesuffix(".bias")


def _add(plan: MergePlan, tensor: TensorPlan, relation: Relation) -> None:
    from tuneforge.merge.kernels.reduce import dot, signs

    rows, columns = matrix_shape(tensor.entry.shape)
    ones: Sequence[float] = [1.0] * len(plan.sources)
    job = Tensor(
        tensor.name, rows, columns, base_rows(plan.base, tensor.name, plan.onto, plan.alignment),
        [source.rows(tensor.name) for source in plan.sources], ones, ones, reads="deltas",
    )  # fmt: skip
    for block in job.blocks():
        base = np.ascontiguousarray(block.base).reshape(-1)
        relation.elements += base.size
        relation.base += dot(base, base)
        deltas = [np.ascontiguousarray(values).reshape(-1) for values in block.inputs]
        for a, left in enumerate(deltas):
            for b in range(a, len(deltas)):
                relation.products[a, b] += dot(left, deltas[b])
                agreeing, both = signs(left, deltas[b])
                relation.agreeing[a, b] += agreeing
                relation.both[a, b] += both
