"""Choose how a file is read: by its name, else by its first bytes."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from tuneforge_datastore.ingest.files import open_bytes, suffix
from tuneforge_datastore.ingest.jsondocument import read_json
from tuneforge_datastore.ingest.jsonlines import read_jsonl
from tuneforge_datastore.ingest.rows import Broken, BrokenFile, Row
from tuneforge_datastore.ingest.tables import read_csv, read_parquet, read_text, read_tsv

Reader = Callable[[IO[bytes]], Iterator[Row | Broken]]
READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".text": read_text,
}


def read_file(file: Path) -> Iterator[Row | Broken]:
    """Read the rows of one file.

    Raises:
        BrokenFile: it cannot be read on from some line.
    """
    with open_bytes(file) as stream:
        try:
            yield from _reader(file, stream)
        except (EOFError, OSError) as error:
            raise BrokenFile(0, f"cannot be read: {error}") from None


def _reader(file: Path, stream: IO[bytes]) -> Iterator[Row | Broken]:
    known = READERS.get(suffix(file))
    seekable = (
        stream if hasattr(stream, "peek") else io.BufferedReader(cast("io.RawIOBase", stream))
    )
    begin = cast("io.BufferedReader", seekable).peek(64)[:64]
    if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BrokenFile(1, "the file is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    return (known or _by_content(begin))(seekable)


def _by_content(begin: bytes) -> Reader:
    if begin.startswith(b"PAR1"):
        return read_parquet
    first = begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        return read_json
    return read_jsonl if first == b"{" else read_text
