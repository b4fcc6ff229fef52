"""Which of llama.cpp's pre-tokenizers splits text as a tokenizer.json does.

llama.cpp knows splitting rules by name (`tokenizer.ggml.pre`) and not by pattern, so a tokenizer is
recognised by the rules in its own file. The name decides token ids: a wrong one is wrong silently.
"""

from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import UsageError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"
QWEN2 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}|{_REST_SLASH}"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{_REST_SLASH}"
)


@dataclass(frozen=True)
class PreTokenizer:
    """One of llama.cpp's rules.

    ``patterns`` cut in turn, each isolating its matches. ``whole_words`` is llama.cpp's
    `ignore_merges`: a word that is a token is taken before any merge is tried.
    """

    name: str
    patterns: tuple[str, ...]
    whole_words: bool = False


PRE_TOKENIZERS = {
    rule.name: rule
    for rule in (
        PreTokenizer("gpt-2", (GPT2,)),
        PreTokenizer("smollm", (r"\p{N}", GPT2)),
        PreTokenizer("llama-bpe", (LLAMA3,), whole_words=True),
        PreTokenizer("dbrx", (LLAMA3,)),
        PreTokenizer("qwen2", (QWEN2,)),
        PreTokenizer("tekken", (TEKKEN,), whole_words=True),
        PreTokenizer("gpt-4o", (GPT4O,)),
    )
}


def recognise(tokenizer: dict[str, Any]) -> PreTokenizer:
    """Return the rule that splits as the byte-level tokenizer of this tokenizer.json does."""
    patterns = _patterns(tokenizer.get("pre_tokenizer"))
    whole_words = bool(tokenizer.get("model", {}).get("ignore_merges", False))
    for rule in PRE_TOKENIZERS.values():
        if rule.patterns == patterns and rule.whole_words == whole_words:
            return rule
    raise UsageError(
        f"llama.cpp has no known pre-tokenizer that splits text by {list(patterns)}"
        + (" and takes whole words before merges" if whole_words else ""),
        f'known: {", ".join(PRE_TOKENIZERS)}; export format = "safetensors" instead',
    )


def _patterns(pre_tokenizer: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the patterns that a pre-tokenizer cuts by, in order, or refuse it."""
    if pre_tokenizer is None:
        raise UsageError(
            "tokenizer.json has no pre-tokenizer, so llama.cpp would split its text otherwise",
            'export format = "safetensors" instead',
        )
    kind = pre_tokenizer["type"]
    if kind == "Sequence":
        return tuple(
            pattern for part in pre_tokenizer["pretokenizers"] for pattern in _patterns(part)
        )
    if kind == "ByteLevel" and not pre_tokenizer.get("add_prefix_space"):
        return (GPT2,) if pre_tokenizer.get("use_regex", True) else ()
    if kind == "Digits" and pre_tokenizer.get("individual_digits"):
        return (r"\p{N}",)
    isolated = pre_tokenizer.get("behavior") == "Isolated" and not pre_tokenizer.get("invert")
    removed = pre_tokenizer.get("behavior") == "Removed" and pre_tokenizer.get("invert")
    if kind == "Split" and (isolated or removed) and "Regex" in pre_tokenizer["pattern"]:
        return (str(pre_tokenizer["pattern"]["Regex"]),)
    options = {key: value for key, value in pre_tokenizer.items() if key != "type"}
    raise UsageError(
        f"llama.cpp has no counterpart of the pre-tokenizer {kind} with {options}",
        'export format = "safetensors" instead',
    )
