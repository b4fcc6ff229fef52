"""From character spans to tokens, safe for tokens that are parts or joins of characters."""

from collections.abc import Collection

from tokenizers import Encoding


def tokens_of(
    encoding: Encoding, start: int, end: int, special: Collection[int]
) -> tuple[int, int]:
    """Give the range of tokens that hold the characters ``start`` to ``end``.

    A token that also holds characters outside (a merge across the boundary) belongs to the range,
    so that no character of the span is lost; a special token that begins outside does not, though
    it may swallow white space of the span. Characters that the tokenizer removes have no token.
    """
    first = _token_at(encoding, range(start, end))
    last = _token_at(encoding, range(end - 1, start - 1, -1))
    if first is None or last is None:
        return 0, 0
    if _characters(encoding, first)[0] < start and encoding.ids[first] in special:
        first += 1
    # One character may be several byte-level tokens; the lookup above finds the first of them.
    count = len(encoding)
    while last + 1 < count and _characters(encoding, last + 1)[0] < end:
        last += 1
    return first, max(first, last + 1)


def cuts_between(encoding: Encoding, at: int) -> int | None:
    """Give the number of tokens before character ``at``; ``None`` if a token lies across it."""
    first = _token_at(encoding, range(at, at + 1))
    if first is None or _characters(encoding, first)[0] < at:
        return None
    return first


def _token_at(encoding: Encoding, characters: range) -> int | None:
    for character in characters:
        token: int | None = encoding.char_to_token(character)
        if token is not None:
            return token
    return None


def _characters(encoding: Encoding, token: int) -> tuple[int, int]:
    """Give the characters a token was made from; one that was added to the text has none."""
    found: tuple[int, int] | None = encoding.token_to_chars(token)
    return found or (0, 0)
