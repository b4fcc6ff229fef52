"""Quality filters: each kind is one module that says, in SQL, what a dropped record fails."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from tuneforge_specs.filters import Filter

from tuneforge_datastore.ledger import Ledger

if TYPE_CHECKING:
    from tuneforge_datastore.basemodel import BaseModel

FILTERS = {
    "boilerplate": "boilerplate:check",
    "code": "code:check",
    "column": "column:check",
    "difficulty": "difficulty:check",
    "echo": "echo:check",
    "empty": "empty:check",
    "encoding": "encoding:check",
    "judge": "judge:check",
    "language": "language:check",
    "length": "length:check",
    "perplexity": "perplexity:check",
    "pii": "pii:check",
    "refusal": "refusal:check",
    "repetition": "repetition:check",
    "roles": "roles:check",
    "sql": "sql:check",
    "symbols": "symbols:check",
    "truncated": "truncated:check",
    "url-only": "url:check",
    "wordlist": "wordlist:check",
}

# The text of a part of a record, whatever its kind.
PARTS = {
    "prompt": "prompt",
    "completion": "completion",
    "whole": "(CASE WHEN prompt = '' THEN completion ELSE prompt || chr(10) || completion END)",
}


@dataclass(frozen=True)
class Folders:
    """Where filters read and write.

    ``spec`` is the base of paths in the spec; ``patches`` holds changed rows while the curation
    lasts, ``out`` is the dataset's artifact, ``cache`` outlives both. ``base`` is the base model
    where something in the dataset needs it.
    """

    spec: Path
    patches: Path
    out: Path
    cache: Path
    base: "BaseModel | None" = None


@dataclass(frozen=True)
class Setting:
    """What a filter may use besides the record.

    ``place`` is the filter's key path for messages, ``stage`` its name in the ledger.
    """

    connection: duckdb.DuckDBPyConnection
    folders: Folders
    place: str
    stage: str


@dataclass(frozen=True)
class Check:
    """A filter as DuckDB expressions over the columns of a record.

    A record stays where ``keep`` is true. ``score``, ``reason`` and ``evidence`` are evaluated for
    dropped records alone. ``prepare`` registers the functions that the expressions call; their
    names must differ between two filters of one dataset that mean different things by them.
    """

    rule: str
    keep: str
    reason: str
    score: str = "NULL"
    evidence: str = "''"
    prepare: Callable[[Setting], None] = lambda _setting: None


@dataclass(frozen=True)
class Pass:
    """A filter that goes over the rows on its own: to tag or change them, or to ask elsewhere.

    Filters before it have been applied when it runs, and filters behind it see what it leaves.
    """

    rule: str
    run: Callable[[Setting, Ledger], None]


def check(filter_spec: Filter) -> Check | Pass:
    """Give the check, or the pass, of one declared filter."""
    module, attribute = FILTERS[filter_spec.kind].split(":")
    made: Check | Pass = getattr(import_module(f"{__name__}.{module}"), attribute)(filter_spec)
    return made
