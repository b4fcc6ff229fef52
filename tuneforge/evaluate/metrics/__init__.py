"""Metrics of generated text, each a module: one row's output and reference to a score in [0, 1].

``loss`` is not among them: it is measured in the worker, on token ids.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

from tuneforge_specs.evaluate import TextMetric, metric_table

LOSS: Final = "loss"
LOWER_IS_BETTER: Final = frozenset({LOSS})
# kind -> "module:function"; the function takes the metric's settings and gives a Score.
METRICS: Final = {
    "exact-match": "tuneforge.evaluate.metrics.exact_match:score",
    "json-valid": "tuneforge.evaluate.metrics.json_valid:score",
}

Score = Callable[[str, str], float]


def scorer(metric: TextMetric) -> Score:
    """Return the function that scores (output, reference) for one entry of ``metrics``."""
    settings = metric_table(metric)
    module, _, attribute = METRICS[settings.kind].partition(":")
    make: Callable[[Any], Score] = getattr(importlib.import_module(module), attribute)
    return make(settings)
