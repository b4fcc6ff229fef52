"""A base or fine-tuned model as the merge sees it: its config, its tensors, their roles."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError, EnvironmentMissing

from tuneforge.weights import Weights, open_weights

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True)
class Model:
    """A Hugging Face folder of full weights."""

    folder: Path
    weights: Weights

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json. Raises EnvironmentMissing or DataError when it cannot be read."""
        file = self.folder / "config.json"
        if not file.is_file():
            raise EnvironmentMissing(f"{self.folder}: no config.json", "name a complete model")
        try:
            config = json.loads(file.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: not JSON", "restore the model's config.json") from error
        if not isinstance(config, dict):
            raise DataError(f"{file}: not a JSON object", "restore the model's config.json")
        return config

    @property
    def tied(self) -> bool:
        """Whether input and output embeddings are one tensor."""
        return bool(self.config.get("tie_word_embeddings"))

    @cached_property
    def embedding(self) -> str:
        """Name of the input embedding; empty when none of the usual names is there."""
        return next((name for name in self.weights if name.endswith(_EMBEDDINGS)), "")

    def find(self, name: str) -> str:
        """Return the stored name of a parameter that PEFT calls ``name``; empty when absent.

        Files may omit or add the prefix of the outer class (``transformer.``, ``model.``), and a
        tied output embedding is not stored: there it is the input embedding.
        """
        if name in self.weights:
            return name
        ends = [
            stored
            for stored in self.weights
            if name.endswith(f".{stored}") or stored.endswith(f".{name}")
        ]
        if len(ends) == 1:
            return ends[0]
        return self.embedding if self.tied and self.is_head(name) else ""

    def is_head(self, name: str) -> bool:
        """Whether ``name`` is the weight of an output head."""
        return name.removesuffix(".weight").rsplit(".", 1)[-1] in _HEADS


def open_model(folder: Path) -> Model:
    """Open a folder of full safetensors weights."""
    return Model(folder, open_weights(folder))
