"""Llama 2 and 3, and Mistral, which llama.cpp runs as a Llama."""

import math
from collections.abc import Mapping

import numpy as np

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    Change,
    Rows,
    decoder_metadata,
    window_ignored,
)
from tuneforge.export.gguf.config import Config


def interleave_halves(rows: Rows, head_dim: int) -> Rows:
    """Reorder each head's rows for GGML's rotary embedding.

    Hugging Face rotates row i with row i + head_dim/2, GGML's Llama rotates neighbours: row i of
    the first half goes to 2i, row i of the second to 2i + 1.
    """
    heads = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


def change(config: Config, name: str) -> Change | None:
    """Interleave the rows of query and key projections."""
    module = name.rsplit(".", 2)[-2] if "." in name else ""
    if module in ("q_proj", "k_proj"):
        head_dim = config.head_dim
        return Change(head_dim, lambda rows: interleave_halves(rows, head_dim))
    return None


def frequency_factors(config: Config) -> Mapping[str, Rows]:
    """Return the divisors of Llama 3.1's scaled rotary frequencies, which GGML takes as a tensor.

    Wavelengths below ``original / high_freq_factor`` stay, those above ``original /
    low_freq_factor`` are stretched by ``factor``, those between are interpolated.
    """
    if config.rope_type != "llama3":
        return {}
    rope = config.rope
    factor, low, high = (
        float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor")
    )
    original = float(rope["original_max_position_embeddings"])
    factors = []
    for pair in range(0, config.head_dim, 2):
        wavelength = 2 * math.pi * float(rope["rope_theta"]) ** (pair / config.head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return {"rope_freqs.weight": np.asarray(factors, dtype=np.float32)}


ARCHITECTURE = Architecture(
    name="llama",
    metadata=decoder_metadata,
    change=change,
    extra_tensors=frequency_factors,
    rope_types=("default", "linear", "yarn", "llama3"),
    check=window_ignored,
)
