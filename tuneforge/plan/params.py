"""The parameters of a step: spec values by key path, in one canonical form."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneforge.step import Json


def flatten(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    """Yield (key path, value) for every leaf: ``datasets.a.filters[0].min``.

    A list of plain values is one leaf, so that a change shows both lists.
    """
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from flatten(value[key], f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, value


def table(
    resolved: Mapping[str, Any], path: tuple[str, ...], without: Iterable[str] = ()
) -> dict[str, Json]:
    """Flatten one table of the resolved spec, leaving out some of its (dotted) keys."""
    value: Any = resolved
    for key in path:
        value = value[key]
    prefix = ".".join(path)
    dropped = tuple(f"{prefix}.{key}" for key in without)
    return {key: leaf for key, leaf in flatten(value, prefix) if not _below(key, dropped)}


def _below(key: str, dropped: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in dropped)
