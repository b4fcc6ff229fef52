"""Sizes in bytes as people write and read them."""

import re

from tuneforge_specs.errors import UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:(B)|([KMGT])(i?)B?)?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read ``20GB``, ``20 GiB``, ``24g`` or plain bytes.

    ``GB`` counts in thousands, ``GiB`` in 1024s. Raise ``UsageError`` for what is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"`{text}` is not a size", "write it as in 20GB or 24GiB")
    if match[3] is None:
        return int(float(match[1]))
    step = 1024 if match[4] else 1000
    power = "kmgt".index(match[3].lower()) + 1
    return int(float(match[1]) * step**power)


def size_text(size: int) -> str:
    """Write bytes for reading, in 1024s: ``5.3 GiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
