"""Share of outputs that are one JSON value, with every wanted key."""

from tuneforge_specs.evaluate import JsonValid

from tuneforge.evaluate.metrics import Score
from tuneforge.evaluate.metrics.json_text import NOTHING, parse


def score(metric: JsonValid) -> Score:
    """Score 1 where the output is strict JSON and, with ``keys``, an object that has them all."""

    def valid(output: str, _reference: str) -> float:
        value = parse(output)
        if value is NOTHING:
            return 0.0
        if not metric.keys:
            return 1.0
        return float(isinstance(value, dict) and value.keys() >= set(metric.keys))

    return valid
