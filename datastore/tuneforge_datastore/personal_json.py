"""Personal data inside JSON: found and redacted value by value, so that it stays JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tuneforge_datastore.personal import redact


def texts(value: Any) -> Iterator[str]:
    """Give every text in a parsed value: strings, whole numbers' digits, and keys."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def redact_json(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Redact the values and keys of JSON; give it as it was where nothing is found.

    A number in which something is found becomes a string.
    """
    counts: dict[str, int] = {}

    def cleaned(found: str) -> str:
        after, added = redact(found, kinds)
        for kind, count in added.items():
            counts[kind] = counts.get(kind, 0) + count
        return after

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            made: dict[str, Any] = {}
            for key, one in value.items():
                made[_free(made, cleaned(key))] = walk(one)
            return made
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, str):
            return cleaned(value)
        if isinstance(value, int) and not isinstance(value, bool):
            after = cleaned(str(value))
            return value if after == str(value) else after
        return value

    done = walk(json.loads(text))
    return (json.dumps(done, ensure_ascii=False) if counts else text), counts


def _free(taken: dict[str, Any], key: str) -> str:
    """Number a key that two redactions would share: no value is lost."""
    named, number = key, 2
    while named in taken:
        named, number = f"{key} {number}", number + 1
    return named


def redact_text(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Redact a text; one that is JSON, such as a tool's result, stays JSON."""
    after, counts = redact(text, kinds)
    if counts and text.lstrip()[:1] in ("{", "[") and _is_json(text) and not _is_json(after):
        return redact_json(text, kinds)
    return after, counts


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
