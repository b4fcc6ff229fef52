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

from tuneforge.merge.adapter import read_adapter
from tuneforge.merge.execute import merge_into
from tuneforge.merge.lowrank import run as lowrank
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


class Loras:
    """A base and adapters in a folder, and merges of them whose result is an adapter."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base, self.out = folder, folder / "base", folder / "out"

    def lora(
        self, name: str, shapes: Mapping[str, tuple[int, int]], r: int, alpha: float, seed: int,
        **config: Any,
    ) -> Path:  # fmt: skip
        """Save an adapter with random factors; ``shapes`` are its modules' weights'."""
        generator = np.random.default_rng(seed)
        tensors = {}
        for module, (rows, columns) in shapes.items():
            for part, shape in (("A", (r, columns)), ("B", (rows, r))):
                values = generator.normal(size=shape).astype(np.float32)
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = values
        folder = self.folder / name
        folder.mkdir()
        save_file(tensors, folder / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": r, "lora_alpha": alpha, **config}
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        return folder

    def make(
        self, method: str, inputs: list[dict[str, Any]], out: str = "out", threads: int = 2,
        **spec: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Merge inputs (tables of the spec, with names of folders here) and return merge.json."""
        tables = [
            {k: str(self.folder / v) if k in {"adapter", "model"} else v for k, v in table.items()}
            for table in inputs
        ]
        table = {"method": method, "inputs": tables, **spec}
        parsed = TypeAdapter(Merge).validate_python(table, by_alias=True)
        folders = [
            input_folder(entry, Path(getattr(entry, "adapter", "") or entry.model))
            for entry in parsed.inputs
        ]
        facts = {"id": "acme/base", "digest": "d"}
        plan = lowrank.plan_from(self.base, facts, "auto", parsed, folders, 17)
        self.out = self.folder / out
        return lowrank.write_adapter(plan, self.out, threads, lambda done, total: None, facts)

    def deltas(self, folder: Path) -> dict[str, np.ndarray]:
        """Multiply an adapter's factors out, by module, in float64."""
        adapter = read_adapter(folder)
        return {
            module: f.scaling
            * adapter.weights.read(f.b).astype(np.float64)
            @ adapter.weights.read(f.a).astype(np.float64)
            for module, f in adapter.factors.items()
        }


@pytest.fixture
def loras(tmp_path: Path) -> Loras:
    """Give a base of two linear layers, and two adapters of it that share one of them."""
    made = Loras(tmp_path)
    modules = {f"model.layers.{n}.self_attn.q_proj": (48, 32) for n in range(2)}
    shapes = {f"{name}.weight": shape for name, shape in modules.items()}
    write_model(made.base, random_tensors(0, like=shapes | {"model.norm.weight": (16,)}))
    made.lora("first", modules, 4, 6, seed=1)
    made.lora("second", dict(list(modules.items())[:1]), 3, 3, seed=2, use_rslora=True)
    return made
