"""Quality filters: each kind is one module that says, in SQL, what a dropped record fails."""

from dataclasses import dataclass
from importlib import import_module

from tuneforge_specs.filters import Filter

FILTERS = {
    "echo": "echo:check",
    "empty": "empty:check",
    "encoding": "encoding:check",
    "length": "length:check",
    "pii": "pii:check",
    "refusal": "refusal:check",
    "repetition": "repetition:check",
    "roles": "roles:check",
    "sql": "sql:check",
    "symbols": "symbols:check",
    "truncated": "truncated:check",
    "url-only": "url:check",
}

# The text of a part of a record, whatever its kind.
PARTS = {
    "prompt": "prompt",
    "completion": "completion",
    "whole": "(CASE WHEN prompt = '' THEN completion ELSE prompt || chr(10) || completion END)",
}


@dataclass(frozen=True)
class Check:
    """A filter as DuckDB expressions over the columns of a record.

    A record stays where ``keep`` is true. ``score``, ``reason`` and ``evidence`` are evaluated for
    dropped records alone.
    """

    rule: str
    keep: str
    reason: str
    score: str = "NULL"
    evidence: str = "''"


def check(filter_spec: Filter) -> Check:
    """Give the check of one declared filter."""
    module, attribute = FILTERS[filter_spec.kind].split(":")
    made: Check = getattr(import_module(f"{__name__}.{module}"), attribute)(filter_spec)
    return made
