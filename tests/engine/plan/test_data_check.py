"""A plan refuses, by name, data that needs a package that is not installed."""

from pathlib import Path

import pytest
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.cli import main
from tuneforge.plan import data_check

SPEC = """
spec = 1
[build]
name = "x"
[base.scratch]
corpus = ["s"]
[sources.s]
SOURCE
[datasets.d]
from = [{ source = "s" }]
FILTERS
"""
LANGUAGE = 'filters = [{ kind = "empty" }, { kind = "language", keep = ["en"] }]'


def write(folder: Path, source: str = 'path = "s.jsonl"', filters: str = "") -> Path:
    (folder / "s.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    file = folder / "spec.toml"
    file.write_text(SPEC.replace("SOURCE", source).replace("FILTERS", filters))
    return file


@pytest.mark.parametrize("command", ["plan", "build"])
def test_a_language_filter_without_its_package(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data_check, "installed", lambda package: package != "lingua")
    assert main([command, str(write(tmp_path, filters=LANGUAGE))]) == EnvironmentMissing.exit_code
    said = capsys.readouterr().err
    assert "datasets.d.filters[1]" in said
    assert "lingua-language-detector" in said
    assert "pip install 'tuneforge[language]'" in said
    assert not list((tmp_path / ".tuneforge").glob("artifacts/*/*"))


def test_a_hugging_face_dataset_without_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data_check, "installed", lambda package: package != "datasets")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    assert main(["plan", str(write(tmp_path, source='hf = "saved"'))]) == 6
    said = capsys.readouterr().err
    assert "sources.s.hf" in said
    assert "pip install 'tuneforge[train]'" in said


def test_what_needs_no_package_is_planned_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_check, "installed", lambda _: False)
    assert main(["plan", str(write(tmp_path))]) == 0
