"""Key paths as users write them: ``datasets.instruct.filters[0].min``."""

import re
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(
    r"""(?P<dot>\.)?(?:(?P<bare>[A-Za-z0-9_-]+)|"(?P<double>[^"]*)"|'(?P<single>[^']*)')"""
    r"""|\[(?P<index>[0-9]{1,9})\]"""
)


def key_text(key: str) -> str:
    """Write one key as TOML does: bare where it may be, else quoted."""
    return key if _BARE.fullmatch(key) else quoted(key)


def quoted(text: str) -> str:
    """Write ``text`` as a TOML basic string."""
    return f'"{"".join(_escape(character) for character in text)}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if short is not None:
        return short
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def path_text(path: KeyPath) -> str:
    """Write a path; the root is an empty text."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{key_text(part)}" if text else key_text(part)
    return text


def parse_path(text: str) -> KeyPath:
    """Read a path. Raise ``ValueError`` for what is not one."""
    path: list[str | int] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or (match["index"] is None and bool(match["dot"]) != bool(path)):
            raise ValueError(f"not a key path at character {at + 1}")
        if match["index"] is not None:
            if not path:
                raise ValueError("a key path begins with a key")
            path.append(int(match["index"]))
        else:
            path.append(next(k for k in match.group("bare", "double", "single") if k is not None))
        at = match.end()
    if not path:
        raise ValueError("the key path is empty")
    return tuple(path)


def lookup(data: Any, path: KeyPath) -> Any:
    """Give the value at ``path``. Raise ``KeyError`` where there is none."""
    for part in path:
        if isinstance(part, int):
            if not isinstance(data, list) or part >= len(data):
                raise KeyError(path_text(path))
            data = data[part]
        else:
            if not isinstance(data, dict) or part not in data:
                raise KeyError(path_text(path))
            data = data[part]
    return data
