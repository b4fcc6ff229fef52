"""The README says what is there: its spec is valid, its commands and make targets exist."""

import re
from pathlib import Path

from tuneforge_specs.loader import load

from tuneforge.cli import COMMANDS


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_its_spec_is_valid(repository: Path, tmp_path: Path) -> None:
    (spec,) = blocks((repository / "README.md").read_text(), "toml")
    (tmp_path / "data" / "tickets").mkdir(parents=True)
    (tmp_path / "data" / "tickets" / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    path = tmp_path / "spec.toml"
    path.write_text(spec)
    loaded = load(path)
    assert list(loaded.spec.export) == ["gguf"]
    assert not loaded.warnings


def test_it_names_every_command_and_no_other(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    used = re.findall(r"tuneforge ([a-z]+)", "\n".join(blocks(text, "console")))
    assert set(used) <= set(COMMANDS)
    rows = text.split("## Commands")[1].split("\n## ")[0].splitlines()
    told = "\n".join(row.split("|")[1] for row in rows if row.startswith("| `"))
    assert set(re.findall(r"`(?:tuneforge )?([a-z]+)", told)) == set(COMMANDS)


def test_its_make_targets_exist(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$ make ([a-z-]+)", (repository / "README.md").read_text())) <= targets
    assert "make test" in (repository / ".ci" / "run").read_text()
