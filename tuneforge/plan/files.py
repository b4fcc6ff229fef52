"""The files a spec names: which they are now, in a stable order."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.filters import Filter, WordlistFilter
from tuneforge_specs.sources import PathSource, SqlSource

from tuneforge.digest import walk_files

STDIN = "-"
_WILD = re.compile(r"[*?\[]")
_QUOTED = re.compile(r"'((?:[^']|'')+)'")


def source_files(name: str, source: PathSource, directory: Path, stdin: Path) -> dict[str, Path]:
    """List the files of a path source in reading order, keyed as a user would write them."""
    patterns = (source.path,) if isinstance(source.path, str) else source.path
    files: dict[str, Path] = {}
    for pattern in patterns:
        if pattern == STDIN:
            files[STDIN] = _stdin(name, stdin)
            continue
        for path in _expand(name, pattern, directory):
            files.setdefault(_shown(path, pattern, directory), path)
    return files


def sql_files(source: SqlSource, directory: Path) -> dict[str, Path]:
    """List the files that the string literals of a query name, alone or as a glob."""
    files: dict[str, Path] = {}
    for literal in _QUOTED.findall(source.sql):
        text = literal.replace("''", "'")
        if len(text) > 4096 or "\0" in text or "\n" in text:
            continue
        if _WILD.search(text):
            found = _glob(text, directory)
        else:
            path = directory / text
            found = [path] if path.is_file() else []
        for path in found:
            files.setdefault(_shown(path, text, directory), path)
    return files


def model_files(folder: Path, role: str) -> dict[str, Path]:
    """List the files of a local model or adapter folder under one role."""
    return {
        f"{role}/{name}": path
        for name, path in walk_files(folder)
        if not name.startswith(".") and "/." not in name
    }


def template_file(chat: str, directory: Path) -> dict[str, Path]:
    """Give the Jinja file a template names, or nothing for a shipped one."""
    if not chat.endswith((".jinja", ".jinja2", ".j2")):
        return {}
    path = directory / Path(chat).expanduser()
    if not path.is_file():
        raise DataError(f"chat template file not found: {path}", "correct the path")
    return {chat: path}


def wordlist_files(filters: Sequence[Filter], directory: Path) -> dict[str, Path]:
    """Give the word lists that filters read."""
    files: dict[str, Path] = {}
    for one in filters:
        if isinstance(one, WordlistFilter) and one.path:
            path = directory / Path(one.path).expanduser()
            if not path.is_file():
                raise DataError(f"word list not found: {path}", "correct the path")
            files[one.path] = path
    return files


def _stdin(name: str, spooled: Path) -> Path:
    if not spooled.is_file():
        raise DataError(
            f'source {name} reads standard input ("-"), and nothing was piped in',
            "pipe the data in: cat rows.jsonl | tuneforge build SPEC",
        )
    return spooled


def _expand(name: str, pattern: str, directory: Path) -> Sequence[Path]:
    path = directory / Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for _, file in walk_files(path) if not file.name.startswith((".", "_"))]
        if not found:
            raise DataError(f"source {name}: the folder is empty: {path}", "put data files in it")
        return found
    if _WILD.search(pattern):
        found = _glob(pattern, directory)
        if not found:
            raise DataError(
                f"source {name}: no file matches {pattern} in {directory}", "correct the pattern"
            )
        return found
    try:
        path.lstat()
    except PermissionError as error:
        raise EnvironmentMissing(f"source {name}: not readable: {path}") from error
    except OSError:
        pass
    raise DataError(
        f"source {name}: file not found: {path}",
        _nearby(path) or "correct the path; it is relative to the spec's folder",
    )


def _glob(pattern: str, directory: Path) -> list[Path]:
    import glob

    base = str(directory)
    expanded = str(Path(pattern).expanduser())
    found = glob.glob(expanded, root_dir=base, recursive=True)  # noqa: PTH207 (absolute patterns)
    return sorted(path for name in found if (path := directory / name).is_file())


def _shown(path: Path, pattern: str, directory: Path) -> str:
    if Path(pattern).expanduser().is_absolute():
        return path.as_posix()
    return Path(os.path.relpath(path, directory)).as_posix()


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    from difflib import get_close_matches

    names = [entry.name for entry in path.parent.iterdir()]
    close = get_close_matches(path.name, names, n=1)
    return f"did you mean {close[0]}?" if close else ""
