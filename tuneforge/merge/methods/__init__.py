"""The merge methods by name. A new one is a file here, a line below and a model in the spec."""

from collections.abc import Sequence
from importlib import import_module
from typing import Final

from tuneforge_specs.merge import Merge

from tuneforge.merge.method import Method

METHODS: Final[dict[str, str]] = {
    "linear": "tuneforge.merge.methods.linear:METHOD",
    "task_arithmetic": "tuneforge.merge.methods.task_arithmetic:METHOD",
    "ties": "tuneforge.merge.methods.ties:METHOD",
    "dare_linear": "tuneforge.merge.methods.dare:LINEAR",
    "dare_ties": "tuneforge.merge.methods.dare:TIES",
    "slerp": "tuneforge.merge.methods.slerp:METHOD",
}


def method_named(name: str) -> Method:
    """Load a method of the registry."""
    module, attribute = METHODS[name].split(":")
    method: Method = getattr(import_module(module), attribute)
    return method


def trimmed_share(spec: Merge, densities: Sequence[float]) -> list[float]:
    """Return the share of each input's delta that a method drops."""
    trims = spec.method in {"ties", "dare_linear", "dare_ties"}
    return [1.0 - density if trims else 0.0 for density in densities]
