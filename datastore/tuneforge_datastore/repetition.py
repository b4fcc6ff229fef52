"""Repetition within one text: the rules of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1)."""

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

NAME = "repetition_excess"
# The most allowed: share of lines, and of their characters, that repeat an earlier line ...
LINES = 0.30
LINE_CHARACTERS = 0.20
# ... of characters in the most frequent run of n words ...
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
# ... and of characters in all runs of n words that occur more than once.
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def excess(text: str) -> float:
    """Give the largest ratio of a measure of the text to its limit; above 1 repeats too much."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    words = text.split()
    if not words:
        return 0.0
    ratios = [_lines(lines) / LINES, _line_characters(lines) / LINE_CHARACTERS]
    total = sum(map(len, words))
    for length, limit in TOP.items():
        runs = Counter(tuple(words[i : i + length]) for i in range(len(words) - length + 1))
        if runs:
            run, count = runs.most_common(1)[0]
            share = count * sum(map(len, run)) / total if count > 1 else 0.0
            ratios.append(share / limit)
    ratios += [_repeated(words, length) / total / limit for length, limit in REPEATED.items()]
    return max(ratios)


def _lines(lines: list[str]) -> float:
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _line_characters(lines: list[str]) -> float:
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def _repeated(words: list[str], length: int) -> int:
    """Count the characters of words in runs seen before; no word counts twice."""
    seen: set[tuple[str, ...]] = set()
    counted = at = 0
    while at + length <= len(words):
        run = tuple(words[at : at + length])
        if run in seen:
            counted += sum(map(len, run))
            at += length
        else:
            seen.add(run)
            at += 1
    return counted


def _excesses(texts: Any) -> pa.Array:
    return pa.array([excess(text or "") for text in texts.to_pylist()], pa.float64())


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``repetition_excess(text)`` known to a connection."""
    connection.create_function(
        NAME, _excesses, ["VARCHAR"], "DOUBLE", type=ARROW, null_handling=SPECIAL
    )
