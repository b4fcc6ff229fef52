"""Small models on disk, and one call that merges them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.numpy import load_file, save_file
from tuneforge_specs.merge import Merge

from tuneforge.merge.execute import merge_into
from tuneforge.merge.resolve import input_folder

DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
SHAPES = {
    "model.embed_tokens.weight": (50, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.layers.0.mlp.up_proj.weight": (40, 16),
    "model.layers.1.self_attn.q_proj.weight": (16, 16),
    "model.layers.1.mlp.up_proj.weight": (40, 16),
    "model.norm.weight": (16,),
}

Tensors = dict[str, np.ndarray]
Merged = Callable[..., Tensors]


def write_model(
    folder: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32", **config: Any
) -> Path:
    folder.mkdir(parents=True)
    kind = DTYPES[dtype]
    save_file({name: values.astype(kind) for name, values in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    settings = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": dtype}
    (folder / "config.json").write_text(json.dumps(settings | config))
    return folder


def random_tensors(seed: int, scale: float = 1.0, like: Mapping[str, Any] = SHAPES) -> Tensors:
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(size=shape) * scale).astype(np.float32)
        for name, shape in like.items()
    }


@pytest.fixture
def merged(tmp_path: Path) -> Merged:
    """Merge tensors given as dicts; returns the result as float32 and checks its header.

    ``inputs`` are (tensors, settings) pairs; ``spec`` holds the keys of the [merge.NAME] table.
    """
    counter = iter(range(100))

    def run(
        base: Tensors, inputs: list[tuple[Tensors, dict[str, Any]]], dtype: str = "float32",
        seed: int = 17, threads: int = 2, **spec: Any,
    ) -> Tensors:  # fmt: skip
        here = tmp_path / f"merge{next(counter)}"
        write_model(here / "base", base, dtype)
        tables = []
        for index, (tensors, settings) in enumerate(inputs):
            folder = write_model(here / f"input{index}", tensors, dtype)
            tables.append({"model": str(folder), **settings})
        parsed = TypeAdapter(Merge).validate_python({"inputs": tables, **spec}, by_alias=True)
        merge_into(
            here / "out",
            base=here / "base",
            base_facts={},
            base_dtype="auto",
            spec=parsed,
            inputs=[input_folder(entry, Path(entry.model)) for entry in parsed.inputs],
            seed=seed,
            threads=threads,
            progress=lambda done, total: None,
        )
        return {
            name: values.astype(np.float32)
            for name, values in load_file(here / "out" / "model.safetensors").items()
        }

    return run
