"""A LoRA adapter as GGUF, for llama.cpp's `--lora`."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.architectures import architecture_of
from tuneforge.export.gguf.architectures.architecture import Architecture
from tuneforge.export.gguf.config import Config
from tuneforge.weights import Weights

MODULE = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True)
class Pair:
    """The two factors of one module; the delta of ``module`` is ``scale * up @ down``.

    ``factor`` makes llama.cpp's one scale for all modules, alpha over rank, that of this module.
    """

    module: str
    name: str
    down: str
    up: str
    rank: int
    scale: float
    factor: float


def refuse_unsupported(config: Mapping[str, Any], weights: Weights) -> None:
    """Refuse what llama.cpp cannot apply at run time."""
    reasons = [key for key in ("use_dora", "modules_to_save") if config.get(key)]
    if config.get("bias", "none") != "none":
        reasons.append(f"bias = {config['bias']}")
    reasons += [name for name in weights if not MODULE.match(name)][:1]
    if reasons:
        raise UsageError(
            f"llama.cpp cannot apply this adapter: {', '.join(reasons)}",
            "merge it and export the merge, or set gguf = false",
        )


def pairs(
    config: Mapping[str, Any], base: Config, architecture: Architecture, weights: Weights
) -> Iterator[Pair]:
    """Yield the adapter's modules with their GGUF names and scales."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = get_tensor_name_map(arch, base.integer("num_hidden_layers"))
    alpha = float(config["lora_alpha"])
    for down in weights:
        found = MODULE.match(down)
        if found is None or found["side"] != "A":
            continue
        module = found["module"]
        name = names.get_name(module)
        if name is None:
            raise UsageError(
                f"{module} is not part of a {architecture.name} model",
                "export the adapter with the base it was trained on",
            )
        rank = weights[down].shape[0]
        own = float(_pattern(config.get("alpha_pattern"), module) or alpha)
        scale = own / (math.sqrt(rank) if config.get("use_rslora") else rank)
        up = down.replace(".lora_A.", ".lora_B.")
        yield Pair(module, name, down, up, rank, scale, factor=scale * rank / alpha)


def _pattern(patterns: Mapping[str, Any] | None, module: str) -> Any:
    """Return the value of the first pattern that names the module, as PEFT matches them."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return None


def write_lora(
    path: Path, name: str, config: Mapping[str, Any], base: Mapping[str, Any], weights: Weights
) -> list[Pair]:
    """Write the adapter in float32, which holds every stored type exactly; return its modules."""
    from gguf import GGUFWriter

    refuse_unsupported(config, weights)
    architecture, shape = architecture_of(base), Config(base)
    found = list(pairs(config, shape, architecture, weights))
    writer = GGUFWriter(path, architecture.name)
    try:
        writer.add_type("adapter")
        writer.add_name(name)
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
        for pair in found:
            down = weights.read(pair.down).astype(np.float32)
            up = _changed(architecture, shape, pair, weights)
            writer.add_tensor(f"{pair.name}.weight.lora_a", down)
            writer.add_tensor(f"{pair.name}.weight.lora_b", np.ascontiguousarray(up))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return found


def _changed(
    architecture: Architecture, base: Config, pair: Pair, weights: Weights
) -> NDArray[np.float32]:
    """Return B with the module's scale and the base weight's own change of row order."""
    up = weights.read(pair.up).astype(np.float32) * np.float32(pair.factor)
    change = architecture.change(base, f"{pair.module}.weight")
    return change.apply(up) if change else up
