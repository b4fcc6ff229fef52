"""How llama.cpp itself reads a GGUF file, where `llama-cpp-python` is installed."""

import importlib.util
from pathlib import Path
from typing import Any


def available() -> bool:
    """Return whether llama-cpp-python can be imported."""
    return importlib.util.find_spec("llama_cpp") is not None


class LlamaCpp:
    """One loaded file; ``logits`` are float32 (positions, vocabulary)."""

    def __init__(self, file: Path, context: int, threads: int) -> None:
        import llama_cpp

        self._model = llama_cpp.Llama(
            model_path=str(file),
            n_ctx=max(64, context),
            n_batch=max(64, context),
            n_threads=threads,
            n_threads_batch=threads,  # more threads than cores spin for each other
            logits_all=True,
            verbose=False,
        )

    def logits(self, ids: list[int]) -> Any:
        """Return the logits after every token."""
        import numpy as np
        import torch

        self._model.reset()
        self._model.eval(ids)
        return torch.from_numpy(np.array(self._model.scores[: len(ids)], dtype=np.float32))

    def token_ids(self, text: str) -> list[int]:
        """Return ids with special tokens parsed and no BOS added."""
        found = self._model.tokenize(text.encode("utf-8"), add_bos=False, special=True)
        return [int(index) for index in found]

    def stops(self, index: int) -> bool:
        """Return whether generation ends at a token."""
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._model.model)
        return bool(llama_cpp.llama_vocab_is_eog(vocabulary, index))

    def close(self) -> None:
        """Free the model."""
        self._model.close()
