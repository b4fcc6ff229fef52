"""Fenced code blocks of a text, by the rules of CommonMark 0.31 (section 4.5)."""

import re
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from tuneforge_datastore.functions import add

NAME = "code_fences"
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")
_BLOCKS = pa.list_(
    pa.struct([("language", pa.string()), ("closed", pa.bool_()), ("opening", pa.string())])
)


@dataclass
class Fence:
    """One block: its language in lower case ('' for none), and whether it was closed."""

    language: str
    closed: bool
    opening: str


def fences(text: str) -> list[Fence]:
    """Find the fenced blocks of a text.

    A fence ends with at least as many of the same character as it began with, and nothing behind
    them; a line of backticks with a backtick in what follows them is code within a line.
    """
    found: list[Fence] = []
    mark = ""
    if "```" not in text and "~~~" not in text:
        return found
    for line in text.splitlines():
        match = _FENCE.match(line)
        if not match:
            continue
        run, info = match.groups()
        if not mark:
            if run[0] == "`" and "`" in info:
                continue
            mark = run
            language = info.split()[0].lower() if info else ""
            found.append(Fence(language, closed=False, opening=line[:80]))
        elif not info and run[0] == mark[0] and len(run) >= len(mark):
            found[-1].closed = True
            mark = ""
    return found


def _blocks(texts: Any) -> pa.Array:
    return pa.array(
        [[vars(one) for one in fences(text or "")] for text in texts.to_pylist()], _BLOCKS
    )


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``code_fences(text)`` known to a connection, once."""
    kind = "STRUCT(language VARCHAR, closed BOOLEAN, opening VARCHAR)[]"
    add(connection, NAME, _blocks, ["VARCHAR"], kind)
