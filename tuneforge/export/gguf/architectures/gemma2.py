"""Gemma 2: norms stored one too small, softcapped logits, a window on every other layer."""

import numpy as np
from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    Change,
    Metadata,
    Rows,
    decoder_metadata,
)
from tuneforge.export.gguf.config import Config


def add_one(rows: Rows) -> Rows:
    """Return the norm's true scale: Gemma stores weight - 1."""
    return rows + np.float32(1.0)


def change(_config: Config, name: str) -> Change | None:
    """Shift every norm by one."""
    return Change(1, add_one) if name.endswith("norm.weight") else None


def metadata(config: Config) -> Metadata:
    """Add the softcaps and the window."""
    return decoder_metadata(config) | {
        "attn_logit_softcapping": config.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": config.number("final_logit_softcapping", 30.0),
        "attention.sliding_window": config.integer("sliding_window"),
    }


def check_attention(config: Config, period: int, wide_layers: int) -> None:
    """Refuse what llama.cpp does not read from a file: another scale or order of windows.

    It scales queries by the head's width (by hidden/heads in the largest model, which it knows by
    its ``wide_layers``) and lets every ``period``-th layer see the whole context.
    """
    layers = config.integer("num_hidden_layers")
    wide = config.integer("hidden_size") // config.heads
    expected = wide if layers == wide_layers else config.head_dim
    scalar = config.number("query_pre_attn_scalar", float(expected))
    if scalar != expected:
        raise UsageError(
            f"query_pre_attn_scalar is {scalar:g}, but llama.cpp scales by {expected} here",
            'use format = "safetensors"',
        )
    kinds = config.values.get("layer_types") or []
    for layer, kind in enumerate(kinds):
        whole = (layer + 1) % period == 0
        if (kind == "full_attention") != whole:
            raise UsageError(
                f"layer_types[{layer}] is {kind}, but llama.cpp has full attention in every"
                f" {period}th layer only",
                'use format = "safetensors"',
            )


def check(config: Config) -> tuple[str, ...]:
    """Refuse configs that llama.cpp computes otherwise."""
    check_attention(config, period=2, wide_layers=46)
    return ()


ARCHITECTURE = Architecture(
    name="gemma2",
    metadata=metadata,
    change=change,
    rope_types=("default", "linear"),
    check=check,
)
