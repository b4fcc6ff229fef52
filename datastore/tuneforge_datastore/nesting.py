"""How deeply the JSON of a record may be nested: what reads it later may hold less than the reader.

Python parses almost a thousand levels; on a stack that is deep already, or elsewhere, it is fewer.
"""

import re

DEEPEST = 100
TOO_DEEP = f"JSON nested more than {DEEPEST} levels deep"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class TooDeep(ValueError):
    """JSON nested beyond the limit."""

    def __init__(self) -> None:
        super().__init__(TOO_DEEP)


def check_depth(*texts: str) -> None:
    """Raise TooDeep where one of these JSON texts is nested beyond the limit."""
    for text in texts:
        # Counting costs next to nothing; few records have so many brackets at all.
        if text.count("[") + text.count("{") > DEEPEST and depth(text) > DEEPEST:
            raise TooDeep


def depth(text: str) -> int:
    """Count the levels of a JSON text."""
    level = deepest = 0
    for mark in re.findall(r"[][{}]", _STRING.sub("", text)):
        level += 1 if mark in "[{" else -1
        deepest = max(deepest, level)
    return deepest
