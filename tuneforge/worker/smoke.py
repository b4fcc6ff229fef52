"""A tiny random model of another model's architecture, with its tokenizer. Loads torch."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from tuneforge.worker.run import WorkerRun

TINY: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
"""Sizes of the tiny model, by the names configs use; a name the config lacks is left out."""
WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")


def smoke(job: dict[str, Any], run: WorkerRun) -> None:
    """Write the tiny likeness of the model folder ``job["model"]`` to ``run.output``."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    source = Path(job["model"])
    torch.manual_seed(job["seed"])
    plain = shrink(json.loads((source / "config.json").read_text()))
    config = AutoConfig.for_model(**plain)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.endswith(WEIGHTS):
            shutil.copyfile(path, run.output / path.name)
    model.save_pretrained(run.output)
    run.summary["parameters"] = sum(parameter.numel() for parameter in model.parameters())


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config.json with its sizes cut down, but for the vocabulary."""
    small = {**config, "dtype": "float32"}
    small.pop("quantization_config", None)
    for name, size in TINY.items():
        if isinstance(small.get(name), int):
            small[name] = min(size, small[name])
    if small.get("num_key_value_heads") == config.get("num_attention_heads"):
        small["num_key_value_heads"] = small["num_attention_heads"]
    if isinstance(small.get("layer_types"), list):
        # the last layers, which in hybrids have one of each kind more often than the first ones
        small["layer_types"] = small["layer_types"][-small["num_hidden_layers"] :]
    return small
