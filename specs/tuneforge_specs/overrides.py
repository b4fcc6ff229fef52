"""Apply ``--set key.path=value`` to a spec's data."""

import tomllib
from typing import Any

from tuneforge_specs.document import Document, Layer
from tuneforge_specs.errors import Problem
from tuneforge_specs.keypath import KeyPath, key_text, lookup, parse_path, path_text
from tuneforge_specs.suggest import nearest

# Tables whose keys are names the user gave: an override changes an entry, it makes none by halves.
NAMED = ("sources", "datasets", "train", "merge", "evaluate", "export")


def apply(document: Document, override: str) -> Problem | None:
    """Apply one ``key.path=value`` to ``document``, or say what is wrong with it."""
    place = f"--set {override}"
    left, equals, right = override.partition("=")
    if not equals:
        return Problem(place, 0, "", "has no value", "write --set key.path=value")
    try:
        path = parse_path(left.strip())
    except ValueError as error:
        fix = "write it as in datasets.instruct.filters[0].min"
        return Problem(place, 0, left.strip(), f"is {error}", fix)
    value = parse_value(right.strip())
    wrong = _cannot_set(document.data, path, value)
    if wrong is not None:
        return Problem(place, 0, path_text(path), wrong[0], wrong[1])
    new = _first_new(document.data, path)
    _put(document.data, path, value)
    document.layers.append(Layer(place, {}, only=new))
    return None


def parse_value(text: str) -> Any:
    """Read ``text`` as a TOML value; what is not one is taken as plain text."""
    try:
        parsed = tomllib.loads(f"value = {text}\n")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _cannot_set(data: dict[str, Any], path: KeyPath, value: Any) -> tuple[str, str] | None:
    """Say why ``path`` cannot be set and what to do, None where it can."""
    whole_entry = len(path) == 2 and isinstance(value, dict)
    if path[0] in NAMED and len(path) > 1 and not whole_entry:
        entries = data.get(path[0], {})
        if isinstance(entries, dict) and path[1] not in entries:
            return f"there is no {path_text(path[:2])}", nearest(str(path[1]), entries)
    for depth in range(len(path)):
        try:
            holder = lookup(data, path[:depth])
        except KeyError:
            # Below here all is new; an index cannot be.
            new = [part for part in path[depth:] if isinstance(part, int)]
            return ("there is no such list", "set the whole list") if new else None
        part, name = path[depth], path_text(path[:depth])
        if isinstance(part, int) and not isinstance(holder, list):
            return f"{name} is not a list", f"set --set {name}=[...]"
        if isinstance(part, int) and part >= len(holder):
            return f"{name} has {len(holder)} entries, counted from 0", "use one of them"
        if isinstance(part, str) and not isinstance(holder, dict):
            return f"{name} is not a table, it has no {key_text(part)}", f"set {name} as a whole"
    return None


def _first_new(data: dict[str, Any], path: KeyPath) -> KeyPath:
    """Give the shortest beginning of ``path`` that is not there yet, else ``path`` itself."""
    for length in range(1, len(path)):
        try:
            lookup(data, path[:length])
        except KeyError:
            return path[:length]
    return path


def _put(data: Any, path: KeyPath, value: Any) -> None:
    for part in path[:-1]:
        if isinstance(part, str) and part not in data:
            data[part] = {}
        data = data[part]
    data[path[-1]] = value
