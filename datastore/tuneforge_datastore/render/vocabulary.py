"""The tokenizer of a model folder, read with the ``tokenizers`` library alone."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer
from tuneforge_specs.errors import DataError

_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


class Vocabulary:
    """Tokens of a model: encoding, special tokens, and whether texts begin with BOS."""

    def __init__(self, folder: Path) -> None:
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise DataError(
                f"{folder} has no tokenizer.json",
                "save the model's fast tokenizer there: "
                f"AutoTokenizer.from_pretrained(...).save_pretrained('{folder}')",
            )
        content = file.read_bytes()
        self.folder = folder
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.config = _json(folder / "tokenizer_config.json")
        try:
            self._tokenizer = Tokenizer.from_str(content.decode("utf-8"))
        # The library raises bare Exception for every malformed file.
        except Exception as error:
            raise DataError(
                f"{file} is not a tokenizer that can be read: {error}",
                "save it again with the installed tokenizers library",
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.special = {
            token.content: token_id
            for token_id, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        older = _json(folder / "special_tokens_map.json")
        self.variables = {
            name: text
            for name in _NAMES
            if (text := _token(self.config, name) or _token(older, name))
        }
        self.bos = self.id_of(self.variables.get("bos_token", ""))
        self.eos = self.id_of(self.variables.get("eos_token", ""))
        pad = self.id_of(self.variables.get("pad_token", ""))
        self.pad = next((token for token in (pad, self.eos) if token is not None), 0)
        self.wants_bos = self.bos is not None and self._adds_bos()

    def _adds_bos(self) -> bool:
        begun = self._tokenizer.encode("a", add_special_tokens=True).ids
        return bool(begun and begun[0] == self.bos) or self.config.get("add_bos_token") is True

    def id_of(self, token: str) -> int | None:
        """Give the id of a token; ``None`` if the vocabulary has no such token."""
        found: int | None = self._tokenizer.token_to_id(token) if token else None
        return found

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise texts as they are: no token is added."""
        encodings: list[Encoding] = self._tokenizer.encode_batch(
            list(texts), add_special_tokens=False
        )
        return encodings

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of token ids, special tokens included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def own_template(self) -> str | None:
        """Read the tokenizer's own chat template, if it has one."""
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        held = self.config.get("chat_template")
        if isinstance(held, list):
            named = {entry.get("name"): entry.get("template") for entry in held}
            held = named.get("default")
        return held if isinstance(held, str) else None


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}", "save the tokenizer again") from error
    return read if isinstance(read, dict) else {}


def _token(config: dict[str, Any], name: str) -> str:
    token = config.get(name)
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""
