"""Which model a user means, and talking without a terminal."""

import json
from pathlib import Path

import pytest
from tuneforge_specs.errors import UsageError

from tuneforge.chat.speaker import ends_of, speaker_in_folder
from tuneforge.cli import main


def test_a_folder_names_its_terminators(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 7}))
    assert speaker_in_folder(tmp_path).terminators == (7,)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    assert ends_of(tmp_path) == (5, 7)


def test_an_adapter_alone_cannot_speak(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="is an adapter"):
        speaker_in_folder(tmp_path)


def test_nothing_asked_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    assert main(["chat", str(tmp_path)]) == 2
    assert "nothing was asked" in capsys.readouterr().err


SPEC = """
spec = 1
[build]
name = "b"
[base]
model = "m"
[sources.s]
path = "s.jsonl"
[datasets.d]
from = [{ source = "s" }]
[train.t]
method = "sft"
dataset = "d"
"""


def test_an_unknown_or_unbuilt_model_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    assert main(["chat", "nobody", "--spec", str(spec), "--prompt", "hi"]) == 2
    assert "the models are: base, train.t" in capsys.readouterr().err
    assert main(["chat", "--spec", str(spec), "--prompt", "hi"]) == 6
    assert "train.t is not built yet" in capsys.readouterr().err
