"""What comes from data does not steer the terminal: no escape sequence of it is written there."""

import json
from pathlib import Path

import pytest
from tuneforge_specs.printing import printable

from tuneforge.build.reporter import StepReporter
from tuneforge.cli import main

EVIL = "\x1b]0;owned\x07\x1b[2J"


@pytest.mark.parametrize(
    "row",
    [
        {EVIL: "a", "y": "b"},  # no format fits: the columns are named
        {"messages": [{"role": EVIL, "content": "a"}]},
        {"prompt": "a", "completion": "b", "tools": EVIL},
        {"prompt": EVIL, "completion": "sound"},
    ],
)
def test_ingest_shows_nothing_that_steers(
    row: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{EVIL}.jsonl".replace("/", "")).write_text(json.dumps(row) + "\n")
    code = main(["data", "ingest", "."])
    said = capsys.readouterr()
    assert code == (0 if "prompt" in row and "tools" not in row else 3)
    assert "owned" in said.out + said.err
    assert not {"\x1b", "\x07"} & set(said.out + said.err)


def test_log_lines_and_warnings_of_steps_are_shown_safely() -> None:
    class Log:
        def __init__(self) -> None:
            self.said: list[str] = []

        def emit(self, _event: str, **fields: str) -> None:
            self.said.append(fields["message"])

    log = Log()
    reporter = StepReporter("source.s", log)  # type: ignore[arg-type]
    reporter.log(f"file {EVIL}")
    reporter.warn(f"file {EVIL}")
    assert log.said == ["file ·]0;owned··[2J"] * 2
    assert reporter.warnings == log.said[:1]


def test_line_breaks_and_every_script_stay() -> None:
    assert printable("ä\n\t漢字 🙂") == "ä\n\t漢字 🙂"
    assert printable("a\rb\x9bc\u202ed") == "a·b·c·d"
