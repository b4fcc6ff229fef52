"""Phi-3 and Phi-4: fused projections kept fused, long-context factors as two tensors."""

import math
from collections.abc import Mapping

import numpy as np

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    Metadata,
    Rows,
    decoder_metadata,
)
from tuneforge.export.gguf.config import Config


def metadata(config: Config) -> Metadata:
    """Add the window (0: none, which tells Phi-4 apart), the original context and its factor."""
    rope = config.rope
    context = config.integer("max_position_embeddings")
    original = int(rope.get("original_max_position_embeddings") or context)
    keys = decoder_metadata(config) | {
        "rope.scaling.original_context_length": original,
        "attention.sliding_window": config.integer("sliding_window", 0),
        "rope.dimension_count": int(
            float(rope.get("partial_rotary_factor") or 1.0) * config.head_dim
        ),
    }
    if config.rope_type == "longrope":
        scale = context / original
        keys["rope.scaling.attn_factor"] = (
            math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        )
    return keys


def long_context_factors(config: Config) -> Mapping[str, Rows]:
    """Return LongRoPE's divisors for short and long contexts (Ding et al. 2024)."""
    if config.rope_type != "longrope":
        return {}
    return {
        f"rope_factors_{length}.weight": np.asarray(config.rope[f"{length}_factor"], np.float32)
        for length in ("long", "short")
    }


ARCHITECTURE = Architecture(
    name="phi3",
    metadata=metadata,
    extra_tensors=long_context_factors,
    rope_types=("default", "longrope"),
)
