"""What the checks across a spec's tables report."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.keypath import KeyPath


@dataclass(frozen=True)
class Finding:
    """One thing wrong, or without effect, at ``path``."""

    path: KeyPath
    message: str
    fix: str = ""


def with_nul(value: Any, path: KeyPath = ()) -> Iterator[Finding]:
    """Find the texts with a NUL character: as a path or a query they would end half way."""
    if isinstance(value, str):
        if "\0" in value:
            yield Finding(path, "holds a NUL character", "remove it")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from with_nul(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from with_nul(inner, (*path, index))
