"""Completions that were cut: in mid-sentence, inside a code block, or with a bracket left open."""

from tuneforge_specs.filters import TruncatedFilter

from tuneforge_datastore.filters import Check
from tuneforge_datastore.quoting import literal

# Prose that runs on: a last line of at least this many words without an end. Shorter last lines
# (a number, a name, a list item, a signature) are complete without a full stop.
_WORDS = 8
_RUNS_ON = rf"(?:^|\n)[^\n]*(?:\S+[ \t]+){{{_WORDS - 1}}}\S*[\p{{L}}\p{{N}},;(\[{{–—-]\s*$"
_ENDED = r"""[.!?…。！？]["'”’»)\]*_]*\s*$"""


def check(_spec: TruncatedFilter) -> Check:
    """Drop what stops before its end; the evidence is how it stops."""
    runs_on = f"regexp_matches(completion, {literal(_RUNS_ON)})"
    fence = f"({_count('```')} // 3) % 2 = 1"
    opened = " OR ".join(f"{_count(left)} > {_count(right)}" for left, right in ("()", "[]", "{}"))
    bracket = f"(({opened}) AND NOT regexp_matches(completion, {literal(_ENDED)}))"
    return Check(
        rule="truncated",
        keep=f"NOT ({fence} OR {bracket} OR {runs_on})",
        reason=f"CASE WHEN {fence} THEN 'a code block is left open' "
        f"WHEN {bracket} THEN 'a bracket is left open' "
        "ELSE 'the last sentence does not end' END",
        evidence="right(completion, 60)",
    )


def _count(mark: str) -> str:
    return f"(length(completion) - length(replace(completion, {literal(mark)}, '')))"
