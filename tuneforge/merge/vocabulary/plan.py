"""Decide the vocabulary of a merge: its tokens, its size, and the origin of every row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tuneforge_specs.errors import DataError
from tuneforge_specs.suggest import listing
from tuneforge_specs.vocabulary import MergeTokenizer, TokenSource

from tuneforge.merge.model import Model
from tuneforge.merge.sources import Source
from tuneforge.merge.vocabulary.align import MEAN, Alignment, Indices, Origins
from tuneforge.merge.vocabulary.read import Vocabulary, read_vocabulary


class _Party:
    """A model that takes part: the base, or an input of full weights."""

    def __init__(self, label: str, model: Model) -> None:
        self.label, self.model = label, model
        self.rows = model.weights[model.embedding].shape[0]
        ids = read_vocabulary(model.folder).ids
        self.ids = {token: index for token, index in ids.items() if index < self.rows}


def align(base: Model, sources: Sequence[Source], wanted: MergeTokenizer) -> Alignment:
    """Return the new vocabulary and how every model's rows get there.

    Raises DataError for a tokenizer or label that is not there, and for adapters of embeddings.
    """
    tensors = vocabulary_tensors(base)
    _check_adapters(sources, tensors)
    models = [(source.label, source.model) for source in sources if source.model is not None]
    parties = [_Party("base", base), *(_Party(label, model) for label, model in models)]
    folder = _tokenizer(base, sources, wanted.source)
    chosen = read_vocabulary(folder)
    added: list[Mapping[str, Any]] = []
    tokens, left_out = dict(chosen.ids), 0
    if wanted.source == "union":
        added, left_out = _added(chosen, parties, wanted)
        tokens |= {str(token["content"]): int(token["id"]) for token in added}
    keeper = next((p for p in parties if p.model.folder == folder), parties[0])
    size = max(keeper.rows, max(tokens.values(), default=-1) + 1)
    size = -(-size // wanted.pad_to_multiple) * wanted.pad_to_multiple
    donors = {token: _donor(token, parties) for token in tokens}
    forced = _named(wanted.tokens, tokens, parties)
    new = {
        token: parties[place[0]].label if place is not None else "mean"
        for token, place in (donors | forced).items()
        if token in forced or token not in parties[0].ids
    }
    origins = {
        party.model.folder: _origins(index, parties, tokens, size, donors, forced, wanted, keeper)
        for index, party in enumerate(parties)
    }
    return Alignment(
        wanted.source, size, tuple(p.model for p in parties), tuple(p.label for p in parties),
        origins, folder, frozenset(tensors), tuple(added), new, left_out,
    )  # fmt: skip


def vocabulary_tensors(model: Model) -> list[str]:
    """Return the tensors that have a row for each token. Raises DataError without an embedding."""
    if not model.embedding:
        raise DataError(
            f"{model.folder}: none of its tensors is a known input embedding",
            "merge models of one vocabulary, without `tokenizer`",
        )
    return [name for name in model.weights if name == model.embedding or model.is_head(name)]


def _check_adapters(sources: Sequence[Source], tensors: Sequence[str]) -> None:
    for source in sources:
        for name in tensors:
            if source.model is None and name in source.pieces:
                raise DataError(
                    f"{source.label}: adapts {name}, whose rows `tokenizer` would move",
                    'fold it into its base with method = "lora" first and merge the result',
                )


def _tokenizer(base: Model, sources: Sequence[Source], source: str) -> Path:
    """Return the folder whose tokenizer the merge is built on."""
    if source in {"base", "union"}:
        return base.folder
    folders = {s.tokenizer for s in sources if s.label == source and s.tokenizer is not None}
    if len(folders) != 1:
        labels = [s.label for s in sources if s.tokenizer is not None]
        what = "names several inputs" if folders else "is no input with a tokenizer"
        raise DataError(
            f"tokenizer: {source!r} {what}", f"write {listing(['base', 'union', *labels])}"
        )
    return folders.pop()


def _added(
    base: Vocabulary, parties: Sequence[_Party], wanted: MergeTokenizer
) -> tuple[list[Mapping[str, Any]], int]:
    """Return the other models' tokens with new ids, and how many plain tokens stay out.

    Plain tokens of another vocabulary can only join as added ones, which cut words that the base's
    tokenizer spells otherwise: old texts would get other ids. So they do where that is asked for.
    """
    found: dict[str, Mapping[str, Any]] = {}
    plain: dict[str, str] = {}
    for party in parties:
        other = read_vocabulary(party.model.folder)
        special = {str(token["content"]): token for token in other.added}
        lacking = set(other.ids) - set(special) - set(base.ids)
        for content in sorted(lacking, key=lambda token: (other.ids[token], token)):
            plain.setdefault(content, party.label)
        for content, token in special.items():
            if content not in base.ids and content not in found:
                found[content] = {**token, "id": base.end + len(found)}
    plain = {content: label for content, label in plain.items() if content not in found}
    if plain and wanted.plain == "refuse":
        content, label = next(iter(plain.items()))
        raise DataError(
            f"tokenizer: {label} has another vocabulary: {len(plain):,} of its plain tokens (such "
            f"as {content!r}) are not the base's. As added tokens they would cut words that the "
            "base spells otherwise, so that old texts get other ids",
            'say what becomes of them: tokenizer = { source = "union", plain = "leave" } or "add"',
        )
    if wanted.plain == "add":
        for content in plain:
            found[content] = {"content": content, "normalized": True, "id": base.end + len(found)}
        return list(found.values()), 0
    return list(found.values()), len(plain)


def _donor(token: str, parties: Sequence[_Party]) -> tuple[int, int] | None:
    """Return the first model that has a token, the base before the inputs, and its row."""
    for index, party in enumerate(parties):
        if token in party.ids:
            return index, party.ids[token]
    return None


def _named(
    wanted: Mapping[str, TokenSource], tokens: Mapping[str, int], parties: Sequence[_Party]
) -> dict[str, tuple[int, int]]:
    """Return the origin of the tokens for which the spec names one."""
    found = {}
    for token, entry in wanted.items():
        if token not in tokens:
            raise DataError(
                f"tokenizer.tokens: {token!r} is no token of the merged tokenizer",
                "take it out, or correct its spelling",
            )
        index = next((i for i, p in enumerate(parties) if p.label == entry.source), None)
        if index is None:
            raise DataError(
                f"tokenizer.tokens: {entry.source!r} is no model of this merge",
                f"write {listing(p.label for p in parties)}",
            )
        other = entry.token or token
        if other not in parties[index].ids:
            raise DataError(
                f"tokenizer.tokens: {entry.source} has no token {other!r}",
                "name another `source` or `token`",
            )
        found[token] = index, parties[index].ids[other]
    return found


def _origins(
    index: int, parties: Sequence[_Party], tokens: Mapping[str, int], size: int,
    donors: Mapping[str, tuple[int, int] | None], forced: Mapping[str, tuple[int, int]],
    wanted: MergeTokenizer, keeper: _Party,
) -> Origins:  # fmt: skip
    """Fill every row of one model; rows without a token are those of the tokenizer's own model."""
    models: Indices = np.full(size, MEAN, np.int64)
    rows: Indices = np.zeros(size, np.int64)
    models[: keeper.rows] = parties.index(keeper)
    rows[: keeper.rows] = np.arange(keeper.rows)
    own = parties[index].ids
    for token, row in tokens.items():
        place = donors[token]
        if token in own:
            place = index, own[token]
        if token in forced and (token not in own or wanted.tokens[token].force):
            place = forced[token]
        models[row], rows[row] = place if place is not None else (MEAN, 0)
    return Origins(models, rows)
