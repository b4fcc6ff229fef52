"""Write the tokenizer of a merge: carried as it is, or with the tokens other models had added."""

import json
import shutil
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import DataError

from tuneforge.merge.vocabulary.align import Alignment

_TEMPLATE: Final = "chat_template.jinja"
_GENERATION: Final = "generation_config.json"  # it names special tokens by id


def write_tokenizer(alignment: Alignment, folder: Path, names: tuple[str, ...]) -> str:
    """Write the tokenizer files into ``folder``; return the name of the folder they are from.

    With new tokens, files of other formats stay behind: they would not have them. The base's chat
    template is carried, or that of the first input that has one.
    """
    chosen = alignment.tokenizer
    kept = names
    if alignment.added:
        _write_extended(alignment, folder)
        kept = ("special_tokens_map.json", _TEMPLATE)
    for name in kept:
        if (chosen / name).is_file():
            shutil.copyfile(chosen / name, folder / name)
    if alignment.source not in {"base", "union"} and (chosen / _GENERATION).is_file():
        shutil.copyfile(chosen / _GENERATION, folder / _GENERATION)
    if alignment.source == "union" and not _has_template(folder):
        for model in alignment.models:
            if (model.folder / _TEMPLATE).is_file():
                shutil.copyfile(model.folder / _TEMPLATE, folder / _TEMPLATE)
                break
    return chosen.name


def _has_template(folder: Path) -> bool:
    settings = folder / "tokenizer_config.json"
    if (folder / _TEMPLATE).is_file():
        return True
    return settings.is_file() and bool(json.loads(settings.read_text("utf-8")).get("chat_template"))


def _write_extended(alignment: Alignment, folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(alignment.tokenizer / "tokenizer.json"))
    # Together, as each call sorts all added tokens anew.
    for special, tokens in groupby(alignment.added, lambda token: bool(token.get("special"))):
        made = [AddedToken(token["content"], **_flags(token)) for token in tokens]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(made)
    for token in alignment.added:
        if tokenizer.token_to_id(token["content"]) != token["id"]:
            raise DataError(
                f"tokenizer: {token['content']!r} cannot be added to that of {alignment.tokenizer}",
                "give its ids without gaps, or choose another tokenizer",
            )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = alignment.tokenizer / "tokenizer_config.json"
    if not settings.is_file():
        return
    content: dict[str, Any] = json.loads(settings.read_text("utf-8"))
    known = content.get("added_tokens_decoder")
    if isinstance(known, dict):
        more = {
            str(token["id"]): {"content": token["content"], **_flags(token),
                               "special": bool(token.get("special"))}
            for token in alignment.added
        }  # fmt: skip
        content["added_tokens_decoder"] = known | more
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", "utf-8")


def _flags(token: Mapping[str, Any]) -> dict[str, bool]:
    keys = ("single_word", "lstrip", "rstrip", "normalized")
    return {key: bool(token.get(key)) for key in keys}
