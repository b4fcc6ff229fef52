"""Paths, globs and folders to files; files to decompressed byte streams."""

import gzip
import io
import sys
from collections.abc import Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import IO, cast

from tuneforge_specs.errors import DataError

STDIN = Path("-")
COMPRESSED = (".gz", ".zst")
READABLE = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".text")
_SKIPPED = ("source.json", "manifest.json", "dataset_info.json", "state.json")


def data_files(path: str | Sequence[str], directory: Path) -> list[Path]:
    """Expand a source's ``path`` to files, relative ones under ``directory``, in sorted order.

    A folder gives every data file below it. ``-`` is standard input.

    Raises:
        DataError: nothing is there, or a folder or glob holds no data file.
    """
    found: list[Path] = []
    for one in [path] if isinstance(path, str) else path:
        for file in _expand(one, directory):
            if file not in found:
                found.append(file)
    return found


def _expand(path: str, directory: Path) -> list[Path]:
    if path == "-":
        return [STDIN]
    full = directory / Path(path).expanduser()
    if full.is_file():
        return [full]
    if full.is_dir():
        files = sorted(file for file in full.rglob("*") if file.is_file() and _is_data(file))
        if not files:
            raise DataError(
                f"{full}: no data file in this folder",
                f"put files ending in {', '.join(READABLE)} (plain, .gz or .zst) there",
            )
        return files
    if has_magic(path):
        files = sorted(Path(name) for name in glob(str(full), recursive=True))  # noqa: PTH207
        files = [file for file in files if file.is_file()]
        if not files:
            raise DataError(f"{full}: no file matches", "correct the pattern or the folder")
        return files
    raise DataError(f"{full}: no such file", _nearest(full))


def _nearest(missing: Path) -> str:
    from difflib import get_close_matches

    if not missing.parent.is_dir():
        return f"the folder {missing.parent} does not exist; correct the path"
    names = sorted(entry.name for entry in missing.parent.iterdir())
    near = get_close_matches(missing.name, names, 1, 0.5)
    return f"did you mean {missing.parent / near[0]}?" if near else "correct the path"


def shown(file: Path, directory: Path) -> str:
    """Name a file as messages and records do: relative to ``directory`` where it is below it."""
    return str(file.relative_to(directory) if file.is_relative_to(directory) else file)


def listed_data(
    files: Mapping[str, Path], path: str | Sequence[str], directory: Path
) -> dict[str, Path]:
    """Leave out of ``files`` what a folder of ``path`` holds beside data (a README, a licence)."""
    named = [
        directory / Path(one).expanduser() for one in ([path] if isinstance(path, str) else path)
    ]
    folders = [folder for folder in named if folder.is_dir()]

    def beside(file: Path) -> bool:
        return any(file.is_relative_to(folder) for folder in folders) and not _is_data(file)

    return {place: file for place, file in files.items() if file in named or not beside(file)}


def _is_data(file: Path) -> bool:
    hidden = file.name.startswith((".", "_"))
    return not hidden and file.name not in _SKIPPED and suffix(file) in READABLE


def suffix(file: Path) -> str:
    """Give a file's kind by its name, compression aside: ``.jsonl`` for ``a.jsonl.gz``."""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    return name.suffix.lower()


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file or standard input for reading, decompressing gzip and zstd by their magic."""
    raw: IO[bytes] = sys.stdin.buffer if file == STDIN else file.open("rb")
    stream = (
        raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    )
    magic = stream.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        decoder = zstandard.ZstdDecompressor()
        return cast(
            "IO[bytes]",
            io.BufferedReader(decoder.stream_reader(stream, read_across_frames=True), 1 << 20),
        )
    return stream
