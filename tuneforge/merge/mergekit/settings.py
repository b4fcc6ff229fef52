"""mergekit's parameter settings as ours: numbers, lists over the layers, values by name."""

from contextlib import suppress
from typing import Any

from tuneforge_specs.errors import UsageError


def number(value: Any, where: str) -> float | int:
    """Return a YAML scalar as a number; PyYAML reads `1e-5` as text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where}: {value!r} is not a number", "write a number")
    return value


def setting(value: Any, where: str) -> Any:
    """Return a parameter as our keys take it: number, list of numbers, table or list of tables."""
    if isinstance(value, list):
        if any(isinstance(item, dict) for item in value):
            return [_choice(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return [number(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        return _choice(value, where)
    return number(value, where)


def _choice(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or "value" not in value or set(value) - {"filter", "value"}:
        raise UsageError(f"{where}: not a table of filter and value", "write filter and value")
    chosen = setting(value["value"], f"{where}.value")
    if isinstance(value["value"], dict) or (isinstance(chosen, list) and _tables(chosen)):
        raise UsageError(f"{where}.value: filters inside filters", "write one list of filters")
    text = value.get("filter")
    if text in (None, "*"):
        return {"value": chosen}
    # A star is a plain character in mergekit's filters, and `[` is one in both.
    if not isinstance(text, str) or set("*?[") & set(text):
        raise UsageError(f"{where}.filter: {text!r} holds *, ? or [", "filter by plain text")
    return {"filter": text, "value": chosen}


def _tables(values: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in values)


def otherwise(first: Any, then: Any) -> Any:
    """Return one setting for two scopes: ``then`` counts where ``first`` is silent."""
    if first is None or then is None:
        return first if then is None else then
    cases = [first] if isinstance(first, dict) else first
    if not isinstance(cases, list) or not _tables(cases):
        return first
    if any("filter" not in case for case in cases):
        return first
    if isinstance(then, dict):
        return [*cases, then]
    if isinstance(then, list) and _tables(then):
        return [*cases, *then]
    return [*cases, {"value": then}]


def switch(value: Any, where: str) -> bool:
    """Return a boolean parameter, which has to be the same everywhere."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and value.get("filter") in (None, "*"):
        value = value.get("value")
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise UsageError(
        f"{where}: {value!r} is not true or false for all tensors", "write one of them"
    )
