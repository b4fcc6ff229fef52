"""A Modelfile, read back as Ollama reads it, and held against the model.

The parser follows Ollama's `parser/parser.go`: a quoted value ends where a line ends with its
quotes, nothing is unescaped, and characters that do not print are dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuneforge.export.verify.go_template import GoTemplateError, Message, render
from tuneforge.export.verify.report import Report

READER = "Modelfile, read as Ollama does"
COMMANDS = frozenset({"from", "template", "system", "parameter", "license", "adapter", "message"})


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile declares; the last of several templates or system texts counts."""

    origin: str = ""
    template: str = ""
    system: str = ""
    parameters: dict[str, list[str]] = field(default_factory=dict)


def read_modelfile(text: str) -> Modelfile:
    """Parse a Modelfile. Raises ValueError where Ollama would refuse it."""
    found: dict[str, str] = {}
    parameters: dict[str, list[str]] = {}
    for command, value in _commands(text):
        if command == "parameter":
            name, _, given = value.partition(" ")
            parameters.setdefault(name, []).append(_unquoted(given.strip()) or "")
        else:
            found[command] = value
    if "from" not in found:
        raise ValueError("no FROM line")
    return Modelfile(found["from"], found.get("template", ""), found.get("system", ""), parameters)


def _commands(text: str) -> Iterator[tuple[str, str]]:
    lines = iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = line.strip().partition(" ")
        if name.lower() not in COMMANDS:
            raise ValueError(f"no command {name!r}")
        parameter = ""
        if name.lower() == "parameter":
            parameter, _, value = value.partition(" ")
        while _unquoted(value.strip()) is None:
            following = next(lines, None)
            if following is None:
                raise ValueError(f"the value of {name} is not closed")
            value = f"{value}\n{following}"
        shown = "".join(c for c in value if c.isprintable() or c in "\t\r\n")
        if parameter:
            yield "parameter", f"{parameter} {shown}"
        else:
            yield name.lower(), _unquoted(shown.strip()) or ""


def _unquoted(value: str) -> str | None:
    """Return a value without its quotes; None where they are not closed yet."""
    for quotes in ('"""', '"'):
        if value.startswith(quotes):
            closed = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            return value[len(quotes) : -len(quotes)] if closed else None
    return value


@dataclass(frozen=True)
class Wanted:
    """What the Modelfile must say: conversations with the text the model was trained to see."""

    rendered: Sequence[tuple[list[Message], str]]
    stops: Sequence[str]
    system: str


def check_modelfile(path: Path, wanted: Wanted, report: Report) -> None:
    """Check that the file can be read, and that it prompts and stops as the model expects."""
    try:
        found = read_modelfile(path.read_text("utf-8"))
    except ValueError as error:
        report.add("syntax", path.name, READER, False, str(error))
        return
    origin = path.parent / found.origin
    detail = found.origin if origin.is_file() else f"{found.origin} is not there"
    report.add("weights file", path.name, READER, origin.is_file(), detail)
    report.add("template", path.name, READER, *_renders(found.template, wanted.rendered))
    missed = [stop for stop in wanted.stops if stop not in found.parameters.get("stop", [])]
    detail = f"generation would not stop at {missed}" if missed else f"{list(wanted.stops)}"
    report.add("end of turn", path.name, READER, bool(wanted.stops) and not missed, detail)
    same = found.system == wanted.system
    detail = f"{len(found.system)} characters" if same else "another text than the spec's"
    report.add("system", path.name, READER, same, detail)


def _renders(template: str, rendered: Sequence[tuple[list[Message], str]]) -> tuple[bool, str]:
    for messages, text in rendered:
        roles = ", ".join(message["role"] for message in messages)
        try:
            found = render(template, messages)
        except (GoTemplateError, LookupError, TypeError) as error:
            return False, f"the template cannot be run: {error}"
        if found != text:
            return False, f"{roles} become {found!r}, the model was trained on {text!r}"
    return True, f"{len(rendered)} conversations come out as the model's own template has them"
