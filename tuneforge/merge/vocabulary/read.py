"""The vocabulary of a model folder: its tokens' ids, read from tokenizer.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError

_AFRESH = "save it with a fast tokenizer: AutoTokenizer.from_pretrained(...).save_pretrained(...)"


@dataclass(frozen=True)
class Vocabulary:
    """``ids`` by token, added tokens included; ``added`` as tokenizer.json describes them."""

    folder: Path
    ids: Mapping[str, int]
    added: tuple[Mapping[str, Any], ...]

    @property
    def end(self) -> int:
        """One more than the highest id."""
        return max(self.ids.values(), default=-1) + 1


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read a folder's vocabulary. Raises DataError where it holds no readable tokenizer.json."""
    file = folder / "tokenizer.json"
    try:
        content: Any = json.loads(file.read_text("utf-8"))
        ids = _ids(content["model"]["vocab"])
        added = tuple(content.get("added_tokens") or ())
        ids |= {str(token["content"]): int(token["id"]) for token in added}
    except OSError as error:
        raise DataError(f"{folder}: no tokenizer.json to align vocabularies by", _AFRESH) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: not a tokenizer's vocabulary", _AFRESH) from error
    return Vocabulary(folder, ids, added)


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder carries a tokenizer of its own."""
    return (folder / "tokenizer.json").is_file() or (folder / "tokenizer.model").is_file()


def _ids(vocab: Any) -> dict[str, int]:
    """Return the ids; Unigram models list [token, score] in the order of ids."""
    if isinstance(vocab, list):
        return {str(entry[0]): index for index, entry in enumerate(vocab)}
    return {str(token): int(index) for token, index in vocab.items()}


def conflict(one: Path, other: Path) -> str:
    """Name an id that two folders give to different tokens; empty where there is none.

    A token that only one of them knows is no conflict: chat tokens live in reserved rows.
    """
    files = one / "tokenizer.json", other / "tokenizer.json"
    if not all(file.is_file() for file in files) or files[0].read_bytes() == files[1].read_bytes():
        return ""
    try:
        ours, theirs = read_vocabulary(one), read_vocabulary(other)
    except DataError:
        return ""
    tokens = {index: token for token, index in ours.ids.items()}
    for token, index in theirs.ids.items():
        if tokens.get(index, token) != token:
            return f"id {index} is {tokens[index]!r} in {one.name} and {token!r} in {other.name}"
    return ""
