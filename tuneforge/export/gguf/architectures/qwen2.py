"""Qwen2 and Qwen2.5: neox rotary order, so no permutation; biases on q, k and v."""

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    decoder_metadata,
    window_ignored,
)

ARCHITECTURE = Architecture(name="qwen2", metadata=decoder_metadata, check=window_ignored)
