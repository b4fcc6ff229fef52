"""A small valid spec, and ways to load variants of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tuneforge_specs.errors import Problem, SpecError
from tuneforge_specs.loader import LoadedSpec, load

SMALL = """\
spec = 1
[build]
name = "demo"
[sources.rows]
path = "rows.jsonl"
[sources.bench]
path = "bench.jsonl"
[datasets.instruct]
from = [{ source = "rows" }]
[base]
model = "models/base"
[train.task]
method = "sft"
dataset = "instruct"
"""


@pytest.fixture
def small() -> str:
    """The text of a valid spec of 14 lines."""
    return SMALL


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write files below a fresh folder and give the path of the first, `spec.toml`."""

    def write_files(text: str, **others: str) -> Path:
        for name, content in others.items():
            (tmp_path / f"{name}.toml").write_text(content, encoding="utf-8")
        path = tmp_path / "spec.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_files


@pytest.fixture
def loaded(write: Callable[..., Path]) -> Callable[..., LoadedSpec]:
    """Load a text as a spec."""

    def load_text(text: str, *overrides: str, **others: str) -> LoadedSpec:
        return load(write(text, **others), overrides)

    return load_text


@pytest.fixture
def problems(loaded: Callable[..., LoadedSpec]) -> Callable[..., list[Problem]]:
    """Give the problems of a text that is no valid spec."""

    def problems_of(text: str, *overrides: str, **others: str) -> list[Problem]:
        with pytest.raises(SpecError) as caught:
            loaded(text, *overrides, **others)
        return list(caught.value.problems)

    return problems_of
