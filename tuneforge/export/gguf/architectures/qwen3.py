"""Qwen3: as Qwen2, with norms on queries and keys and a head width of its own."""

from tuneforge.export.gguf.architectures.architecture import (
    Architecture,
    decoder_metadata,
    window_ignored,
)

ARCHITECTURE = Architecture(name="qwen3", metadata=decoder_metadata, check=window_ignored)
