"""Records with words of a list: profanity, slurs, names of competitors."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from tuneforge_specs.errors import DataError
from tuneforge_specs.filters import WordlistFilter

from tuneforge_datastore.filters import PARTS, Check, Setting
from tuneforge_datastore.functions import add
from tuneforge_datastore.quoting import literal

# Scripts that write words without spaces between them: there a word is found anywhere.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_WORD = re.compile(r"\w+")


def check(spec: WordlistFilter) -> Check:
    """Drop above ``max``; the score is the count, the evidence the words that were found."""
    known = "\n".join([spec.path, *spec.words])
    name = f"listed_words_{hashlib.blake2b(known.encode(), digest_size=8).hexdigest()}"
    found = f"{name}({PARTS[spec.of]})"
    where = f" of {spec.path}" if spec.path else ""
    return Check(
        rule="wordlist",
        keep=f"len({found}) <= {spec.max}",
        score=f"len({found})",
        reason=f"'the {spec.of} has ' || len({found}) || ' listed words'"
        + (f" || {literal(where)}" if where else ""),
        evidence=f"array_to_string(list_distinct({found}), ', ')",
        prepare=lambda setting: _register(setting, spec, name),
    )


def _register(setting: Setting, spec: WordlistFilter, name: str) -> None:
    words = Words([*spec.words, *(_read(setting, spec.path) if spec.path else ())])

    def found(texts: Any) -> pa.Array:
        kind = pa.list_(pa.string())
        return pa.array([words.within(text or "") for text in texts.to_pylist()], kind)

    add(setting.connection, name, found, ["VARCHAR"], "VARCHAR[]")


def _read(setting: Setting, path: str) -> list[str]:
    file = setting.folders.spec / Path(path).expanduser()
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{setting.place}.path: {file} cannot be read: {error}",
            "name a text file (UTF-8) with one word a line, relative to the spec",
        ) from None
    words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not words:
        raise DataError(f"{setting.place}.path: {file} lists no words", "write one word a line")
    return words


def folded(text: str) -> str:
    """Fold a text's case and its forms of the same letters (NFKC)."""
    return unicodedata.normalize("NFKC", text).casefold()


class Words:
    """A list of words and phrases, folded, that texts are searched for."""

    def __init__(self, listed: Iterable[str]) -> None:
        self.unspaced: list[str] = []
        self.phrases: dict[str, set[tuple[str, ...]]] = {}
        for word in map(folded, listed):
            parts = tuple(_WORD.findall(word))
            if _UNSPACED.search(word):
                self.unspaced.append(word.strip())
            elif parts:
                self.phrases.setdefault(parts[0], set()).add(parts)

    def within(self, text: str) -> list[str]:
        """Give the listed words of a text, as often as they occur, in order of place."""
        plain = folded(text)
        words = _WORD.findall(plain)
        found = []
        for place, word in enumerate(words):
            if word in self.phrases:
                found += [
                    " ".join(phrase)
                    for phrase in sorted(self.phrases[word])
                    if tuple(words[place : place + len(phrase)]) == phrase
                ]
        for word in self.unspaced:
            found += [word] * plain.count(word)
        return found
