"""Names, texts and paths inside SQL: quoted, so that none of them can say more than its name."""

from collections.abc import Iterable
from pathlib import Path


def name(text: str) -> str:
    """Quote an identifier."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def path(file: Path) -> str:
    """Quote a path so that a glob function takes it as it stands."""
    return literal("".join(f"[{c}]" if c in "*?[" else c for c in str(file)))


def paths(files: Iterable[Path]) -> str:
    """Quote paths as a SQL list."""
    return "[" + ", ".join(path(file) for file in files) + "]"
