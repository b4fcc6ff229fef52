"""Share of outputs that equal their reference."""

import re

from tuneforge_specs.errors import DataError
from tuneforge_specs.evaluate import ExactMatch

from tuneforge.evaluate.metrics import Score
from tuneforge.evaluate.metrics.json_text import NOTHING, canonical, parse


def score(metric: ExactMatch) -> Score:
    """Score 1 where output and reference are equal after stripping.

    With ``pattern`` only its last match in each is compared (its first group, if it has one); with
    ``json`` the parsed values are. A reference without a match or that is no JSON is a DataError:
    no output could ever equal it.
    """
    pattern = re.compile(metric.pattern) if metric.pattern else None

    def pick(text: str) -> str | None:
        if pattern is not None:
            found = [match[1] if pattern.groups else match[0] for match in pattern.finditer(text)]
            if not found or found[-1] is None:
                return None
            text = found[-1]
        if metric.json_values:
            value = parse(text)
            return None if value is NOTHING else canonical(value)
        return text.strip()

    def equal(output: str, reference: str) -> float:
        expected = pick(reference)
        if expected is None:
            wanted = f"has no match of {metric.pattern!r}" if pattern else "is no JSON"
            raise DataError(
                f"exact-match: the reference {reference[:80]!r} {wanted}",
                "change the metric's pattern or json setting, or drop such rows with a filter",
            )
        return float(pick(output) == expected)

    return equal
