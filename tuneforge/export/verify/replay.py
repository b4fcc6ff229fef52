"""llama.cpp's tokenizers, replayed from nothing but a GGUF file's metadata.

Follows llama.cpp's `llm_tokenizer_bpe` and `llm_tokenizer_spm`: special tokens are cut out first,
then pieces merge by rank (byte-level BPE) or by score (SentencePiece). Shares no code with the
writer, save the table of pre-tokenizers, which is llama.cpp's.
"""

import heapq
from collections.abc import Iterator
from typing import Any

from tuneforge.export.gguf.pretokenizers import PRE_TOKENIZERS
from tuneforge.export.gguf.vocabulary import BYTE, CONTROL, UNKNOWN, USER_DEFINED

Metadata = dict[str, Any]
# llama.cpp drops whitespace (C's isspace) after the special tokens of models named Phi-3, but for:
PHI3_KEEPS = frozenset({"<unk>", "<s>", "<|endoftext|>"})
ASCII_SPACES = " \t\n\v\f\r"


class Replay:
    """Tokenize as llama.cpp does with special tokens parsed and none added."""

    def __init__(self, metadata: Metadata) -> None:
        tokens = metadata["tokenizer.ggml.tokens"]
        types = metadata["tokenizer.ggml.token_type"]
        self._ids = {token: index for index, token in enumerate(tokens)}
        special = (CONTROL, USER_DEFINED, UNKNOWN)
        # Longest first: that is the order in which llama.cpp cuts them out.
        self._special = sorted(
            (token for token, kind in zip(tokens, types, strict=True) if kind in special),
            key=len,
            reverse=True,
        )
        name = str(metadata.get("general.name", "")).lower()
        self._stripping = "phi-3" in name or "phi3" in name
        self._sentencepiece = metadata["tokenizer.ggml.model"] == "llama"
        if self._sentencepiece:
            self._scores = metadata["tokenizer.ggml.scores"]
            self._bytes = {
                int(token[1:-1], 16): index
                for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
                if kind == BYTE
            }
            self._prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
        else:
            merges = metadata["tokenizer.ggml.merges"]
            self._ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
            self._rule = PRE_TOKENIZERS[metadata["tokenizer.ggml.pre"]]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = []
        after_special = True
        for part, special in self._fragments(text):
            if special:
                ids.append(self._ids[part])
            elif self._sentencepiece:
                prefix = " " if self._prefix and after_special else ""
                ids += self._sentencepiece_ids((prefix + part).replace(" ", "▁"))
            else:
                ids += self._byte_level_ids(part)
            after_special = special
        return ids

    def _fragments(self, text: str) -> list[tuple[str, bool]]:
        parts = [(text, False)]
        for token in self._special:
            cut: list[tuple[str, bool]] = []
            for part, special in parts:
                if special or token not in part:
                    cut.append((part, special))
                    continue
                for number, piece in enumerate(part.split(token)):
                    cut += [(token, True)] if number else []
                    strips = number and self._stripping and token not in PHI3_KEEPS
                    rest = piece.lstrip(ASCII_SPACES) if strips else piece
                    cut += [(rest, False)] if rest else []
            parts = cut
        return [part for part in parts if part[0]]

    def _byte_level_ids(self, text: str) -> Iterator[int]:
        from tokenizers import Regex, pre_tokenizers

        splitter = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(p), "isolated") for p in self._rule.patterns]
        )
        for word, _ in splitter.pre_tokenize_str(text):
            symbols = "".join(BYTE_SYMBOLS[byte] for byte in word.encode("utf-8"))
            if self._rule.whole_words and symbols in self._ids:
                yield self._ids[symbols]
                continue
            merged = _merge(list(symbols), lambda left, right: self._ranks.get((left, right)))
            # A piece that is no token falls apart into its bytes; a byte that is none is dropped.
            for piece in merged:
                parts = [piece] if piece in self._ids else list(piece)
                yield from (self._ids[part] for part in parts if part in self._ids)

    def _sentencepiece_ids(self, text: str) -> Iterator[int]:
        def order(left: str, right: str) -> float | None:
            index = self._ids.get(left + right)
            return None if index is None else -self._scores[index]

        for piece in _merge(list(text), order):
            if piece in self._ids:
                yield self._ids[piece]
            else:
                yield from (self._bytes[byte] for byte in piece.encode("utf-8"))


def _merge(symbols: list[str], order: Any) -> list[str]:
    """Merge neighbours, lowest ``order`` first and leftmost among equals, until none has one."""
    following = [*range(1, len(symbols)), -1]
    preceding = list(range(-1, len(symbols) - 1))
    alive = [True] * len(symbols)
    queue: list[tuple[float, int, int, str]] = []

    def push(left: int, right: int) -> None:
        if left >= 0 and right >= 0:
            rank = order(symbols[left], symbols[right])
            if rank is not None:
                heapq.heappush(queue, (rank, left, right, symbols[left] + symbols[right]))

    for left in range(len(symbols) - 1):
        push(left, left + 1)
    while queue:
        _, left, right, text = heapq.heappop(queue)
        current = alive[left] and alive[right] and following[left] == right
        if not current or symbols[left] + symbols[right] != text:
            continue
        symbols[left] = text
        alive[right] = False
        following[left] = following[right]
        if following[right] >= 0:
            preceding[following[right]] = left
        push(preceding[left], left)
        push(left, following[left])
    return [symbol for symbol, lives in zip(symbols, alive, strict=True) if lives]


def _byte_symbols() -> dict[int, str]:
    """Return GPT-2's printable stand-in of every byte (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in symbols)
    return symbols | {byte: chr(256 + number) for number, byte in enumerate(others)}


BYTE_SYMBOLS = _byte_symbols()
