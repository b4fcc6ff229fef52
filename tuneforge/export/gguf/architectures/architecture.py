"""What differs from one architecture to the next when it becomes GGUF."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneforge.export.gguf.config import Config

Value = bool | int | float | str | list[int] | list[float] | list[bool]
Metadata = dict[str, Value]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """How a tensor's rows change on the way; ``apply`` gets whole multiples of ``group`` rows."""

    group: int
    apply: Callable[[Rows], Rows]


def unchanged(_config: Config, _name: str) -> Change | None:
    """Change nothing."""
    return None


def no_limits(_config: Config) -> tuple[str, ...]:
    """Know of no difference."""
    return ()


def no_extra(_config: Config) -> Mapping[str, Rows]:
    """Add no tensors."""
    return {}


@dataclass(frozen=True)
class Architecture:
    """One architecture: GGUF's name for it, its metadata, and what its tensors go through.

    ``metadata`` returns keys without the architecture's prefix. ``change`` says how the tensor of
    that Hugging Face name changes. ``extra_tensors`` gives tensors that the source does not have.
    ``rope_types`` are the rotary scalings that llama.cpp computes for this architecture. ``check``
    refuses configs that llama.cpp computes otherwise, and returns notes on lesser differences.
    """

    name: str
    metadata: Callable[[Config], Metadata]
    change: Callable[[Config, str], Change | None] = unchanged
    extra_tensors: Callable[[Config], Mapping[str, Rows]] = no_extra
    rope_types: tuple[str, ...] = ("default", "linear", "yarn")
    check: Callable[[Config], tuple[str, ...]] = no_limits


def decoder_metadata(config: Config) -> Metadata:
    """Return what every dense decoder declares."""
    metadata: Metadata = {
        "block_count": config.integer("num_hidden_layers"),
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": config.integer("hidden_size"),
        "feed_forward_length": config.integer("intermediate_size"),
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.number("rms_norm_eps", 1e-6),
        "rope.freq_base": float(config.rope["rope_theta"]),
        "rope.dimension_count": config.head_dim,
        "vocab_size": config.integer("vocab_size"),
    }
    return metadata | scaling_metadata(config)


def scaling_metadata(config: Config) -> Metadata:
    """Return the keys of linear and YaRN rotary scaling (Peng et al. 2023)."""
    rope = config.rope
    if config.rope_type == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if config.rope_type == "yarn":
        original = rope.get("original_max_position_embeddings") or config.integer(
            "max_position_embeddings"
        )
        metadata: Metadata = {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope["factor"]),
            "rope.scaling.original_context_length": int(original),
        }
        for key in ("beta_fast", "beta_slow"):
            if rope.get(key) is not None:
                metadata[f"rope.scaling.yarn_{key}"] = float(rope[key])
        return metadata
    return {}


def window_ignored(config: Config) -> tuple[str, ...]:
    """Note that llama.cpp attends to the whole context where the model has a sliding window."""
    window = config.values.get("sliding_window")
    if not window or config.values.get("use_sliding_window") is False:
        return ()
    return (f"llama.cpp ignores the sliding window of {window} tokens: longer contexts differ",)
