"""Write plain values as TOML: what ``plan --resolved`` prints and the loader reads back."""

from collections.abc import Mapping
from typing import Any

from tuneforge_specs.keypath import key_text, quoted

_WIDTH = 100


def to_toml(resolved: Mapping[str, Any]) -> str:
    """Write ``resolved`` (tables, lists, text, numbers, booleans) as TOML."""
    lines: list[str] = []
    _table(resolved, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path and (plain or not tables):
        lines += ["", f"[{'.'.join(map(key_text, path))}]"]
    for key, value in plain.items():
        lines.append(f"{key_text(key)} = {_value(value, len(key) + 3)}")
    for key, inner in tables.items():
        _table(inner, (*path, key), lines)


def _value(value: Any, indent: int = 0) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key_text(key)} = {_value(inner)}" for key, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    items = [_value(item) for item in value]
    line = f"[{', '.join(items)}]"
    if len(line) + indent <= _WIDTH or not indent:
        return line
    return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
