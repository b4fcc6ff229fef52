"""Take the faulty parts out of a spec's data, so that what remains can still be cross-checked."""

from typing import Any

from pydantic import ValidationError

from tuneforge_specs.explain import Wrong, explain
from tuneforge_specs.keypath import lookup
from tuneforge_specs.spec import Spec

_STANDINS: dict[str, Any] = {"spec": 1, "build": {"name": "unnamed"}, "base": {"model": "unnamed"}}
_ROUNDS = 4


def prune(data: dict[str, Any]) -> Spec | None:
    """Drop faulty values from ``data`` until the rest is a spec; None where it never is."""
    for _ in range(_ROUNDS):
        wrong = explain(Spec, data)
        if not wrong:
            break
        for found in wrong:
            _drop(data, found)
    try:
        return Spec.model_validate(data, by_alias=True, by_name=False)
    except ValidationError:
        return None


def _drop(data: dict[str, Any], found: Wrong) -> None:
    if len(found.path) == 1 and found.path[0] in _STANDINS:
        data[str(found.path[0])] = _STANDINS[str(found.path[0])]
        return
    path = found.path[:-1] if found.absent else found.path
    while path and isinstance(path[-1], int):  # without a list's element the others would shift
        path = path[:-1]
    if not path:
        return
    if len(path) == 1 and path[0] in _STANDINS:
        data[str(path[0])] = _STANDINS[str(path[0])]
        return
    try:
        holder = lookup(data, path[:-1])
    except KeyError:
        return  # gone already, with something that holds it
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
