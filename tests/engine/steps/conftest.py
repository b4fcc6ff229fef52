"""Step contexts as the engine makes them, for the steps that start workers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.spec import Spec

from tuneforge.step import Artifact, Step, StepContext


class Recorder:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def progress(self, done: float, total: float, unit: str = "") -> None:
        self.told.append(("progress", done))

    def log(self, message: str) -> None:
        self.told.append(("log", message))

    def warn(self, message: str) -> None:
        self.told.append(("warn", message))

    def metrics(self, values: Any) -> None:
        self.told.append(("metrics", dict(values)))


ContextMaker = Callable[..., StepContext]


@pytest.fixture
def context(tmp_path: Path) -> ContextMaker:
    """Make the context of one step of a spec given as a dict."""

    def make(
        step: str,
        spec: Mapping[str, Any],
        inputs: Mapping[str, Path] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> StepContext:
        kind, _, name = step.partition(".")
        out = tmp_path / "out" / step
        out.mkdir(parents=True)
        head = {"spec": 1, "build": {"name": "demo"}, "base": {"model": "base"}}
        return StepContext(
            step=Step(step, kind, name or kind, dict(params or {}), {}),
            spec=Spec.model_validate({**head, **spec}),
            spec_dir=tmp_path,
            workspace=tmp_path / ".tuneforge",
            key="k" * 64,
            out=out,
            inputs={
                role: Artifact(role, "k", f"digest-of-{role}", path, {})
                for role, path in (inputs or {}).items()
            },
            report=Recorder(),
            seed=7,
            threads=1,
        )

    return make


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder that has what a model folder must have, but weights of one number."""
    folder = tmp_path / "base"
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    (folder / "model.safetensors").write_bytes(weights)
    return folder
