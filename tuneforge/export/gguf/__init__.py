"""GGUF files written in Python: metadata, vocabulary and streamed tensors, without a compiler."""
