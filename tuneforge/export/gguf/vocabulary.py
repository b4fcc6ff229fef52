"""A tokenizer.json as the vocabulary that a GGUF file carries."""

from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.pretokenizers import recognise
from tuneforge.export.model_folder import ModelFolder

# Values of gguf.TokenType, written out so that planning does not import the library.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# llama.cpp's converter gives added tokens this score: no merge of pieces ever prefers them.
ADDED_SCORE = -1000.0


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order, with what llama.cpp needs to tokenize with them.

    ``model`` is `gpt2` (byte-level BPE, with ``merges``) or `llama` (SentencePiece BPE, with
    ``scores``). ``notes`` say where llama.cpp is known to tokenize otherwise than the source.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    space_prefix: bool | None = None
    notes: tuple[str, ...] = ()


def vocabulary_of(folder: ModelFolder, rows: int) -> Vocabulary:
    """Return the vocabulary of a model folder, padded to the ``rows`` of its embedding."""
    check_tokenizer(folder)
    largest = max(folder.token_ids.values(), default=-1)
    if not 0 <= largest < rows:
        raise UsageError(
            f"{folder.path}: the tokenizer has ids up to {largest}, the embedding {rows} rows",
            "resize the embedding, or take the tokenizer the model was trained with",
        )
    return _sentencepiece(folder, rows) if _falls_back(folder) else _byte_level(folder, rows)


def check_tokenizer(folder: ModelFolder) -> None:
    """Refuse a tokenizer that llama.cpp would not follow; needs tokenizer.json only."""
    tokenizer = folder.tokenizer
    kind = tokenizer.get("model", {}).get("type")
    if kind != "BPE":
        raise UsageError(
            f"GGUF export does not support {kind} tokenizers ({folder.path})",
            'it supports byte-level and SentencePiece BPE; use format = "safetensors"',
        )
    if _falls_back(folder):
        _space_prefix(tokenizer)
    else:
        recognise(tokenizer)
        _normalizer_notes(tokenizer.get("normalizer"))


def _falls_back(folder: ModelFolder) -> bool:
    """Return whether unknown characters become bytes, as SentencePiece has it."""
    return bool(folder.tokenizer["model"].get("byte_fallback"))


def _byte_level(folder: ModelFolder, rows: int) -> Vocabulary:
    tokens, types = _tokens_and_types(folder, rows)
    merges = tuple(_merge_text(merge) for merge in folder.tokenizer["model"]["merges"])
    return Vocabulary(
        model="gpt2",
        pre=recognise(folder.tokenizer).name,
        tokens=tokens,
        types=types,
        merges=merges,
        notes=_normalizer_notes(folder.tokenizer.get("normalizer")),
    )


def _merge_text(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _normalizer_notes(normalizer: dict[str, Any] | None) -> tuple[str, ...]:
    if normalizer is None or (
        normalizer["type"] == "Sequence" and not normalizer.get("normalizers")
    ):
        return ()
    if normalizer["type"] == "NFC":
        return ("llama.cpp does not normalise text to NFC: decomposed characters get other tokens",)
    raise UsageError(
        f"llama.cpp has no counterpart of the normalizer {normalizer['type']}",
        'export format = "safetensors" instead',
    )


def _sentencepiece(folder: ModelFolder, rows: int) -> Vocabulary:
    tokens, types = _tokens_and_types(folder, rows)
    merges = folder.tokenizer["model"]["merges"]
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    # SentencePiece merges the pair whose piece scores highest; a tokenizer.json keeps the order of
    # merges only, so a piece's score is minus the rank of its first merge. Pieces that no merge
    # makes (characters) come after all of them, as they do in SentencePiece's own files.
    scores = tuple(
        _score(token, kind, ranks, index)
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
    )
    prefix, notes = _space_prefix(folder.tokenizer)
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=tokens,
        types=types,
        scores=scores,
        space_prefix=prefix,
        notes=notes,
    )


def _score(token: str, kind: int, ranks: dict[str, int], index: int) -> float:
    if kind in (CONTROL, USER_DEFINED):
        return ADDED_SCORE
    if kind in (BYTE, UNKNOWN):
        return 0.0
    if kind == UNUSED:
        return -10000.0
    return -float(ranks[token]) if token in ranks else -float(len(ranks) + index)


def _space_prefix(tokenizer: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Return whether a space is put before text, and how llama.cpp's way of it differs."""
    steps = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    kinds: dict[str, dict[str, Any]] = {}
    while steps:
        step = steps.pop()
        if step:
            kinds[step["type"]] = step
            steps += step.get("normalizers", []) + step.get("pretokenizers", [])
    unknown = set(kinds) - {"Sequence", "Prepend", "Replace", "Metaspace", "Split"}
    if unknown:
        raise UsageError(
            f"llama.cpp has no counterpart of {', '.join(sorted(unknown))} in a SentencePiece"
            " tokenizer",
            'export format = "safetensors" instead',
        )
    if "Prepend" in kinds:
        return True, ()
    scheme = kinds.get("Metaspace", {}).get("prepend_scheme", "never")
    if scheme == "first":
        note = "llama.cpp puts a space before text after every special token, the source only first"
        return True, (note,)
    return scheme == "always", ()


def _tokens_and_types(folder: ModelFolder, rows: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    model = folder.tokenizer["model"]
    tokens = [f"[PAD{index}]" for index in range(rows)]
    types = [UNUSED] * rows
    byte_fallback = bool(model.get("byte_fallback"))
    for token, index in model["vocab"].items():
        tokens[index] = token
        is_byte = byte_fallback and len(token) == 6 and token.startswith("<0x") and token[5] == ">"
        types[index] = BYTE if is_byte else NORMAL
    for added in folder.tokenizer.get("added_tokens", []):
        tokens[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added.get("special") else USER_DEFINED
    if byte_fallback and model.get("unk_token") in model["vocab"]:
        types[model["vocab"][model["unk_token"]]] = UNKNOWN
    return tuple(tokens), tuple(types)
