"""Layer stacking: every tensor in its place, bytes untouched, the config as deep as the stack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import Merge

from tuneforge.merge.execute import merge_into
from tuneforge.merge.resolve import input_folder

KINDS = {"mlp.up_proj.weight": (6, 4), "input_layernorm.weight": (4,)}


def write(folder: Path, depth: int, seed: int, width: int = 4) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(seed)
    tensors = {"model.embed_tokens.weight": generator.normal(size=(9, width)).astype(np.float16)}
    for layer in range(depth):
        for kind, shape in KINDS.items():
            values = generator.normal(size=(*shape[:-1], width)).astype(np.float16)
            tensors[f"model.layers.{layer}.{kind}"] = values
    save_file(tensors, folder / "model.safetensors")
    types = ["full_attention" if n % 2 else "sliding_attention" for n in range(depth)]
    config = {"model_type": "qwen2", "num_hidden_layers": depth, "layer_types": types}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def stack(tmp_path: Path, slices: list[dict[str, Any]], inputs: list[Path]) -> dict[str, Any]:
    spec = TypeAdapter(Merge).validate_python(
        {
            "method": "passthrough",
            "inputs": [{"model": str(folder)} for folder in inputs],
            "slices": slices,
        }
    )
    merge_into(
        tmp_path / "out", base=tmp_path / "base", base_facts={}, base_dtype="auto", spec=spec,
        inputs=[input_folder(e, Path(e.model)) for e in spec.inputs], seed=0, threads=2,
        progress=lambda done, total: None,
    )  # fmt: skip
    return load_file(tmp_path / "out" / "model.safetensors")


def test_layers_are_stacked_in_order(tmp_path: Path) -> None:
    base, other = write(tmp_path / "base", 3, 0), write(tmp_path / "other", 5, 1)
    slices = [
        {"input": 0, "layers": [0, 2]},
        {"input": 1, "layers": [3, 5]},
        {"input": 0, "layers": [1, 3], "scale": 0.5},
    ]
    result = stack(tmp_path, slices, [base, other])
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (base, other))
    origins = [(ours, 0, 1), (ours, 1, 1), (theirs, 3, 1), (theirs, 4, 1), (ours, 1, 0.5),
               (ours, 2, 0.5)]  # fmt: skip
    for layer, (model, number, scale) in enumerate(origins):
        for kind in KINDS:
            expected = model[f"model.layers.{number}.{kind}"] * np.float16(scale)
            assert result[f"model.layers.{layer}.{kind}"].tobytes() == expected.tobytes()
    assert np.array_equal(result["model.embed_tokens.weight"], ours["model.embed_tokens.weight"])
    assert len(result) == 1 + 6 * len(KINDS)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_hidden_layers"] == 6
    full, sliding = "full_attention", "sliding_attention"
    assert config["layer_types"] == [sliding, full, full, sliding, full, sliding]


def test_a_slice_is_scaled_by_name_and_by_its_own_layers(tmp_path: Path) -> None:
    base = write(tmp_path / "base", 4, 0)
    scale = [{"filter": "up_proj", "value": [0.0, 1.0]}]
    slices = [{"input": 0, "layers": [0, 2]}, {"input": 0, "layers": [1, 4], "scale": scale}]
    result = stack(tmp_path, slices, [base])
    ours = load_file(base / "model.safetensors")
    for layer, factor in enumerate([0.0, 0.5, 1.0]):
        up, norm = (f"model.layers.{{}}.{kind}" for kind in KINDS)
        expected = ours[up.format(layer + 1)] * np.float16(factor)
        assert np.array_equal(result[up.format(layer + 2)], expected)
        assert np.array_equal(result[norm.format(layer + 2)], ours[norm.format(layer + 1)])


def test_what_cannot_be_stacked_is_refused(tmp_path: Path) -> None:
    base, wide = write(tmp_path / "base", 2, 0), write(tmp_path / "wide", 2, 1, width=8)
    with pytest.raises(DataError, match="shape"):
        stack(tmp_path, [{"input": 0, "layers": [0, 2]}], [wide])
    with pytest.raises(DataError, match="layer 2 is not there"):
        stack(tmp_path, [{"input": 0, "layers": [1, 3]}], [base])
    with pytest.raises(ValidationError, match="no input 1"):
        stack(tmp_path, [{"input": 1, "layers": [0, 2]}], [base])
    with pytest.raises(ValidationError, match="are none"):
        stack(tmp_path, [{"input": 0, "layers": [2, 2]}], [base])
    assert not (tmp_path / "out").exists()
