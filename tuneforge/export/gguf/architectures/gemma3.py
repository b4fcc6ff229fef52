"""Gemma 3 (text): as Gemma 2 without softcaps, with norms on queries and keys."""

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    Metadata,
    decoder_metadata,
)
from tuneforge.export.gguf.architectures.gemma2 import change, check_attention
from tuneforge.export.gguf.config import Config


def metadata(config: Config) -> Metadata:
    """Add the window and the rotary base of the windowed layers."""
    local = (config.values.get("rope_parameters") or {}).get("sliding_attention", {})
    theta = local.get("rope_theta") or config.values.get("rope_local_base_freq") or 10000.0
    keys = decoder_metadata(config) | {
        "attention.sliding_window": config.integer("sliding_window"),
        "rope.freq_base_swa": float(theta),
    }
    if config.values.get("final_logit_softcapping"):
        keys["final_logit_softcapping"] = config.number("final_logit_softcapping")
    return keys


def check(config: Config) -> tuple[str, ...]:
    """Refuse configs that llama.cpp computes otherwise."""
    check_attention(config, period=6, wide_layers=62)
    return ()


ARCHITECTURE = Architecture(
    name="gemma3",
    metadata=metadata,
    change=change,
    rope_types=("default", "linear"),
    check=check,
)
