"""Bounded line reading: no line, however long, is held beyond a limit."""

from collections.abc import Iterator
from typing import IO

# Parsed JSON takes up to 27 times its bytes (a list of empty lists): 900 MB for this.
MAX_ROW_BYTES = 32 << 20
_CHUNK = 1 << 20


class TooLong(bytes):
    """The beginning of a line that was longer than the limit."""


def lines(stream: IO[bytes], limit: int = MAX_ROW_BYTES) -> Iterator[bytes]:
    r"""Give each line without its ``\n`` or ``\r\n``; one beyond ``limit`` bytes as ``TooLong``.

    Memory stays below ``limit`` plus one chunk: the rest of a line too long is read and forgotten.
    """
    pieces: list[bytes] = []
    held = 0
    skipping = False
    while chunk := stream.read(_CHUNK):
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            if skipping:
                skipping = False
                continue
            if pieces:
                pieces.append(line)
                line = b"".join(pieces)  # noqa: PLW2901 - the line began in an earlier chunk
                pieces, held = [], 0
            yield _checked(line, limit)
        if skipping or not rest:
            continue
        pieces.append(rest)
        held += len(rest)
        if held > limit:
            yield TooLong(b"".join(pieces)[:_CHUNK])
            pieces, held, skipping = [], 0, True
    if pieces and not skipping:
        yield _checked(b"".join(pieces), limit)


def _checked(line: bytes, limit: int) -> bytes:
    if len(line) > limit:
        return TooLong(line[:_CHUNK])
    return line[:-1] if line.endswith(b"\r") else line
