"""Which merges stand in for one trained model: those of one adapter that was trained on NF4."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.spec import Spec

from tuneforge.evaluate.trained import trained_adapter
from tuneforge.step import Artifact
from tuneforge.workspace import Workspace


def adapter(folder: Path, quantize: str) -> None:
    (folder / "adapter").mkdir(parents=True)
    facts = {"base": {"quantize": quantize, "dtype": "bfloat16"}}
    (folder / "training.json").write_text(json.dumps(facts))


def spec(**merge: Any) -> Spec:
    table = {"method": "lora", "inputs": [{"adapter": "t/adapter"}], **merge}
    return Spec.model_validate(
        {"spec": 1, "build": {"name": "x"}, "base": {"model": "b"}, "merge": {"m": table}}
    )


def found(tmp_path: Path, spec: Spec, step: str = "merge.m") -> Path | None:
    made = {"base": {"step": "base", "key": "k"}, "train.t": {"step": "train.t", "key": "key"}}
    model = Artifact(step, "k", "d", tmp_path, {"inputs": made})
    return trained_adapter(model, spec, tmp_path, Workspace(tmp_path / "w"))


@pytest.mark.parametrize(("quantize", "compared"), [("nf4", True), ("none", False)])
def test_an_adapter_of_the_spec_or_from_elsewhere(
    tmp_path: Path, quantize: str, compared: bool
) -> None:
    adapter(tmp_path / "t", quantize)
    assert found(tmp_path, spec()) == (tmp_path / "t" / "adapter" if compared else None)
    place = Workspace(tmp_path / "w").artifact_path("train.t", "key")
    adapter(place, quantize)
    manifest = {"v": 1, "step": "train.t", "key": "key", "digest": "d", "files": {}}
    (place / "manifest.json").write_text(json.dumps(manifest))
    trained = spec(inputs=[{"train": "t"}])
    assert found(tmp_path, trained) == (place / "adapter" if compared else None)


@pytest.mark.parametrize(
    "merge",
    [
        {"inputs": [{"adapter": "t/adapter"}, {"adapter": "t/adapter"}]},
        {"method": "task_arithmetic"},
        {"method": "lora_cat"},
    ],
)
def test_no_one_model_was_trained(tmp_path: Path, merge: dict[str, Any]) -> None:
    adapter(tmp_path / "t", "nf4")
    assert found(tmp_path, spec(**merge)) is None
    assert found(tmp_path, spec(), "train.m") is None
