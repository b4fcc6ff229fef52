"""JSON as a model is asked for it: one value, nothing around it."""

import json
from typing import Any, Final

NOTHING: Final = object()


def parse(text: str) -> Any:
    """Return the value that ``text`` is, or NOTHING where it is no strict JSON.

    Python's reader also takes NaN and Infinity and keeps the last of repeated keys; strict readers
    take neither, so these count as no JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return NOTHING


def canonical(value: Any) -> str:
    """Write a value so that equal values give equal text, and ``true`` differs from 1."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is repeated")
    return found
