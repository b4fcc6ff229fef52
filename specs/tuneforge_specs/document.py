"""Read a spec's TOML text: includes merged in, overrides applied, every value's origin kept."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import Problem, SpecError, UsageError
from tuneforge_specs.keypath import KeyPath

_AT = re.compile(
    r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$"
)
_DEEPEST = 32
_SYNTAX_FIXES = {
    "Invalid value": "text values stand in quotes, true and false in lower case",
    "Cannot overwrite a value": "the key is given twice: keep one of them",
    "Cannot declare": "the table is declared twice: join the two",
    "Expected '=' after a key in a key/value pair": "write `key = value`; quote keys with spaces",
    "Expected newline or end of document after a statement": "one `key = value` a line",
    "Unclosed array": "close the list with `]`",
    "Expected ']' at the end of a table declaration": "close the table's name with `]`",
    "Illegal character": "remove the character",
}


@dataclass
class Layer:
    """One place that values came from: a file, or one ``--set``."""

    file: str
    data: dict[str, Any]
    text: str = ""
    only: KeyPath = ()
    _lines: dict[KeyPath, int] | None = field(default=None, repr=False)

    def line(self, path: KeyPath) -> int | None:
        """Give the line of ``path`` in this layer (0 for an override), None where it has none."""
        if self.only:
            return 0 if path[: len(self.only)] == self.only else None
        if self._lines is None:
            from tuneforge_specs.positions import positions

            self._lines = positions(self.text)
        return self._lines.get(path)


@dataclass
class Document:
    """The merged data of a spec and the layers it was merged from, the weakest first."""

    path: Path
    data: dict[str, Any]
    layers: list[Layer]

    def position(self, path: KeyPath) -> tuple[str, int]:
        """Give the file and line of ``path``, or of its nearest parent that is written down."""
        while path:
            for layer in reversed(self.layers):
                line = layer.line(path)
                if line is not None:
                    return layer.file, line
            path = path[:-1]
        return str(self.path), 1


def read(path: Path) -> Document:
    """Read ``path`` and what it includes. Raise ``UsageError`` or ``SpecError`` (all problems)."""
    if path.is_dir():
        inside = path / "spec.toml"
        fix = f"name the file: {inside}" if inside.is_file() else "name a .toml file"
        raise UsageError(f"{path} is a folder, not a spec", fix)
    if not path.exists():
        raise UsageError(
            f"there is no spec {path}", "check the path, or write a new one: tuneforge init"
        )
    reader = _Reader()
    reader.read(path, (), Problem(str(path), 0, "", ""))
    if reader.problems:
        raise SpecError(tuple(reader.problems))
    data: dict[str, Any] = {}
    for layer in reader.layers:
        merge(data, layer.data)
    return Document(path, data, reader.layers)


def merge(into: dict[str, Any], over: dict[str, Any]) -> None:
    """Merge ``over`` into ``into``: tables join, anything else of ``over`` replaces."""
    for key, value in over.items():
        if isinstance(value, dict):
            below = into.get(key)
            joined = dict(below) if isinstance(below, dict) else {}
            merge(joined, value)
            into[key] = joined
        else:
            into[key] = value


class _Reader:
    """Collects layers, included files before the file that includes them, and problems."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.problems: list[Problem] = []
        self.done: set[Path] = set()

    def read(self, path: Path, chain: Sequence[Path], asked: Problem) -> None:
        """Read ``path``; ``asked`` is the place that names it, ``chain`` the files above it."""
        real = path.resolve()
        if real in chain:
            names = " -> ".join(step.name for step in (*chain[chain.index(real) :], real))
            problem = _at(asked, f"includes itself: {names}", "remove one of these includes")
            self.problems.append(problem)
            return
        if real in self.done:  # by another way: once is enough
            return
        self.done.add(real)
        text = _text(path, asked, self.problems)
        if text is None:
            return
        data = _parse(path, text, self.problems)
        if data is None:
            return
        layer = Layer(str(path), data, text)
        for included, problem in _includes(layer):
            if included is None:
                self.problems.append(problem)
            else:
                self.read(path.parent / included, (*chain, real), problem)
        self.layers.append(layer)


def _parse(path: Path, text: str, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        data = tomllib.loads(text)
        if _depth(data) <= _DEEPEST:
            return data
    except RecursionError:
        pass
    except ValueError as error:  # TOMLDecodeError is one, and so is an integer of 5000 digits
        problems.append(_syntax_problem(path, text, str(error)))
        return None
    problems.append(Problem(str(path), 0, "", "is nested too deeply to be a spec", "flatten it"))
    return None


def _depth(data: Any) -> int:
    depth, level = 0, [data]
    while level and depth <= _DEEPEST:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return depth


def _includes(layer: Layer) -> Iterator[tuple[str | None, Problem]]:
    """Take ``include`` out of the layer's data and give each entry with its place."""
    if "include" not in layer.data:
        return
    value = layer.data.pop("include")
    fix = 'write `include = ["common.toml"]` at the top of the file'
    here = Problem(layer.file, layer.line(("include",)) or 1, "include", "", fix)
    if not isinstance(value, list):
        yield None, _at(here, "must be a list of file names", fix)
        return
    for index, item in enumerate(value):
        line = layer.line(("include", index)) or here.line
        place = Problem(layer.file, line, f"include[{index}]", "", "")
        if isinstance(item, str) and item and "\0" not in item:
            yield item, place
        else:
            yield None, _at(place, "must be a file name", fix)


def _text(path: Path, asked: Problem, problems: list[Problem]) -> str | None:
    try:
        if not path.is_file():
            missing = f"there is no file {path}" if not path.exists() else f"{path} is not a file"
            problems.append(_at(asked, missing, "check the path (relative to the including file)"))
            return None
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(_at(asked, f"cannot be read: {error.strerror or error}", "check the file"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        problems.append(Problem(str(path), line, "", found, "save the file as UTF-8"))
    return None


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    match = _AT.match(message)
    what = match["what"] if match else message
    line = text.rstrip("\n").count("\n") + 1
    where = ""
    if match and match["line"]:
        line = int(match["line"])
        where = f", column {match['column']}"
    elif not match:
        line = 0
    fix = next((fix for start, fix in _SYNTAX_FIXES.items() if what.startswith(start)), "")
    return Problem(str(path), line, "", f"is not valid TOML: {what}{where}", fix)


def _at(place: Problem, message: str, fix: str) -> Problem:
    return Problem(place.file, place.line, place.key, message, fix)
