"""The merge methods by name. A new one is a file here, a line below and a model in the spec."""

from collections.abc import Sequence
from importlib import import_module
from typing import Final

from tuneforge_specs.merge import Merge, TaskVectorMerge

from tuneforge.merge.method import Method

METHODS: Final[dict[str, str]] = {
    "linear": "tuneforge.merge.methods.linear:METHOD",
    "greedy_soup": "tuneforge.merge.methods.linear:SOUP",
    "task_arithmetic": "tuneforge.merge.methods.task_arithmetic:METHOD",
    "ties": "tuneforge.merge.methods.ties:METHOD",
    "dare_linear": "tuneforge.merge.methods.dare:LINEAR",
    "dare_ties": "tuneforge.merge.methods.dare:TIES",
    "slerp": "tuneforge.merge.methods.slerp:METHOD",
    "della": "tuneforge.merge.methods.della:METHOD",
    "della_linear": "tuneforge.merge.methods.della:LINEAR",
    "breadcrumbs": "tuneforge.merge.methods.breadcrumbs:METHOD",
    "breadcrumbs_ties": "tuneforge.merge.methods.breadcrumbs:TIES",
    "nuslerp": "tuneforge.merge.methods.nuslerp:METHOD",
    "multislerp": "tuneforge.merge.methods.multislerp:METHOD",
    "karcher": "tuneforge.merge.methods.karcher:METHOD",
    "model_stock": "tuneforge.merge.methods.model_stock:METHOD",
    "sce": "tuneforge.merge.methods.sce:METHOD",
    "nearswap": "tuneforge.merge.methods.nearswap:METHOD",
    "arcee_fusion": "tuneforge.merge.methods.arcee_fusion:METHOD",
}


def method_named(name: str) -> Method:
    """Load a method of the registry."""
    module, attribute = METHODS[name].split(":")
    method: Method = getattr(import_module(module), attribute)
    return method


def trimmed_share(spec: Merge, densities: Sequence[float]) -> list[float]:
    """Return the share of each input's delta that a method drops."""
    trims = isinstance(spec, TaskVectorMerge) and spec.method != "task_arithmetic"
    return [1.0 - density if trims else 0.0 for density in densities]
