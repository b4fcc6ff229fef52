"""Say in plain words what is wrong with one plain value: text, number, choice, a list's size."""

from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tuneforge_specs.shapes import Shape, describe, literals, spoken
from tuneforge_specs.suggest import nearest

_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_FIXED = {
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "finite_number": "must be a finite number",
}
_CONFIG = ConfigDict(strict=True, allow_inf_nan=False)


def explain_leaf(shape: Shape, value: Any) -> tuple[str, str] | None:
    """Give what is wrong with ``value`` and the fix, None where nothing is.

    Of a list, whose elements have been found right before, it is what its own rules say.
    """
    annotated: Any = shape.annotation
    for item in shape.metadata:
        annotated = Annotated[annotated, item]
    try:
        TypeAdapter(annotated, config=_CONFIG).validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        return _plain(shape, value, error)
    return None


def _plain(shape: Shape, value: Any, error: ValidationError) -> tuple[str, str]:
    item = error.errors(include_url=False, include_input=False)[0]
    kind, context = item["type"], item.get("ctx", {})
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"must be {words} {_number(context[limit])}, not {spoken(value)}", ""
    fixed = _FIXED.get(kind)
    if kind == "too_short" and context["min_length"] > 1:
        fixed = f"needs at least {context['min_length']} entries, not {context['actual_length']}"
    if kind == "too_long":
        fixed = f"takes at most {context['max_length']} entries, not {context['actual_length']}"
    if fixed is not None:
        return fixed, ""
    if kind == "string_pattern_mismatch":
        return _pattern(context["pattern"], value)
    choices = [str(choice) for choice in literals(shape)]
    if choices:
        fix = nearest(value, choices) if isinstance(value, str) else ""
        return f"must be {describe(shape)}, not {spoken(value)}", fix
    if kind.endswith(("_type", "_parsing", "_from_float", "_parsing_size")):
        return f"must be {describe(shape)}, not {spoken(value)}", _retype(shape, value)
    return spoken_message(item["msg"]), ""


def spoken_message(message: str) -> str:
    """Give a validator's message as it goes on after a key."""
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _number(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)


def _pattern(pattern: str, value: str) -> tuple[str, str]:
    if pattern == _NAME_PATTERN:
        return (
            f"must be 1 to 64 letters, digits, - or _, not {spoken(value)}",
            "begin with a letter or a digit",
        )
    return f"has the wrong form: {spoken(value)}", f"it must match {pattern}"


def _retype(shape: Shape, value: Any) -> str:
    if isinstance(value, str):
        if shape.annotation is bool and value.lower() in ("true", "false"):
            return f"write {value.lower()} without quotes"
        if shape.annotation in (int, float):
            return "write the number without quotes" if _is_number(value) else "write a number"
    if shape.annotation is str and isinstance(value, int | float):
        return f'put it in quotes: "{str(value).lower()}"'
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
