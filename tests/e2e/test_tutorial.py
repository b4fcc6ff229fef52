"""docs/tutorial.md, run as it is written."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.train, pytest.mark.timeout(1200)]

BLOCK = re.compile(r"```(sh|toml)\n(.*?)```", re.DOTALL)


def test_every_command_of_the_tutorial_runs(
    project: Callable[[str], Any], repository: Path, shared_data: Path, tmp_path: Path
) -> None:
    text = (repository / "docs" / "tutorial.md").read_text()
    blocks = BLOCK.findall(text)
    spec = next(body for kind, body in blocks if kind == "toml")
    (tmp_path / "data").mkdir()
    for name in ("gsm8k_train.jsonl", "gsm8k_test.jsonl"):
        (tmp_path / "data" / name).symlink_to(shared_data / name)
    built = project(spec)
    commands = [line for kind, body in blocks if kind == "sh" for line in body.splitlines()]
    assert len(commands) > 10
    said = {}
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "tuneforge"
        said[command] = built.run(*words)
    assert "7,473" in said[commands[0]]
    plan = next(out for command, out in said.items() if "filters[0].max" in command)
    assert re.search(r"datasets\.math\.filters\[0\]\.max.*150.*80", plan)

    held = {row["id"] for row in built.rows("dataset.exam", "kept.parquet")}
    assert len(held) == 1319
    assert not built.rows("render.exam", "train.parquet")
    report = built.json("evaluate.exam", "metrics.json")
    assert report["rows"] == 16
    assert report["metrics"]["loss"] < report["base"]["loss"]
    assert list((built.workspace / "exports" / "gguf").glob("*.gguf"))
