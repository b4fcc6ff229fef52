"""A Hugging Face model folder, read without transformers."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import EnvironmentMissing

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class ModelFolder:
    """Config, tokenizer and template of the model in ``path``; each file is read when asked for."""

    path: Path

    def _json(self, name: str, *, required: bool = False) -> dict[str, Any]:
        file = self.path / name
        if not file.is_file():
            if required:
                raise EnvironmentMissing(
                    f"{self.path} has no {name}, so it is not a complete model folder",
                    "export a merge, a fully trained model, or a folder saved with its tokenizer"
                    " (`tokenizer.save_pretrained` writes tokenizer.json)",
                )
            return {}
        try:
            values = json.loads(file.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise EnvironmentMissing(
                f"{file} is not JSON: {error}", "make the model again"
            ) from error
        if not isinstance(values, dict):
            raise EnvironmentMissing(f"{file} is not a JSON object", "make the model again")
        return values

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return self._json("config.json", required=True)

    @cached_property
    def _declared(self) -> dict[str, Any]:
        """config.json, empty where there is none: an adapter has none and stops all the same."""
        return self._json("config.json")

    @cached_property
    def generation(self) -> dict[str, Any]:
        """generation_config.json, empty where there is none."""
        return self._json("generation_config.json")

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """tokenizer.json as data."""
        return self._json("tokenizer.json", required=True)

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        """tokenizer_config.json, empty where there is none."""
        return self._json("tokenizer_config.json")

    @cached_property
    def chat_template(self) -> str:
        """The Jinja text of the chat template, empty where the model has none."""
        file = self.path / "chat_template.jinja"
        if file.is_file():
            return file.read_text("utf-8")
        template = self.tokenizer_config.get("chat_template") or ""
        if isinstance(template, list):
            named = {entry["name"]: entry["template"] for entry in template}
            template = named.get("default", "")
        return str(template)

    @cached_property
    def token_ids(self) -> dict[str, int]:
        """Id of every token, the added ones included."""
        ids = dict(_vocabulary(self.tokenizer))
        ids.update(
            {token["content"]: token["id"] for token in self.tokenizer.get("added_tokens", [])}
        )
        return ids

    def special(self, name: str) -> int | None:
        """Id of ``bos_token``, ``eos_token``, ``unk_token`` or ``pad_token``, None if undeclared.

        tokenizer_config.json is what inference stacks read, so it wins over the model's config.
        """
        content = self.tokenizer_config.get(name)
        if content is None and name == "unk_token":
            content = self.tokenizer.get("model", {}).get("unk_token")
        if isinstance(content, dict):
            content = content.get("content")
        if isinstance(content, str) and content in self.token_ids:
            return self.token_ids[content]
        value = self.generation.get(f"{name}_id", self._declared.get(f"{name}_id"))
        if isinstance(value, list):
            value = value[0] if value else None
        return value if isinstance(value, int) else None

    @cached_property
    def terminators(self) -> tuple[int, ...]:
        """Ids at which generation stops: generation config, config, then the tokenizer's eos."""
        found: list[int] = []
        for declared in (
            self.generation.get("eos_token_id"),
            self._declared.get("eos_token_id"),
            self.special("eos_token"),
        ):
            values = declared if isinstance(declared, list) else [declared]
            found += [v for v in values if isinstance(v, int) and v not in found]
        return tuple(found)

    @cached_property
    def generation_ends(self) -> tuple[int, ...]:
        """Ids at which transformers' `generate` stops, which asks no tokenizer.

        Where there is a generation_config.json the model's config does not count.
        """
        has_own = (self.path / "generation_config.json").is_file()
        declared = (self.generation if has_own else self._declared).get("eos_token_id")
        values = declared if isinstance(declared, list) else [declared]
        return tuple(value for value in values if isinstance(value, int))


def _vocabulary(tokenizer: dict[str, Any]) -> dict[str, int]:
    model = tokenizer.get("model", {})
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: [piece, score] in id order
        return {piece: index for index, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)
