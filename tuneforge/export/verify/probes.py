"""The texts that a tokenizer must cut alike before and after an export."""

import unicodedata

from tuneforge.export.model_folder import ModelFolder

TEXTS = (
    "Hello, world!",
    " leading and trailing spaces  ",
    "two  three   four    spaces\tand\ttabs",
    "line\nbreaks\n\nand\r\nmore\n\n\n  indented",
    "\n",
    "   ",
    "I'll, you've, they'RE, he'd, it's, we'm; O'Neill's",
    "1 12 123 1234 12345 3.14159 1,000,000 2026-11-22T05:30:00Z",
    "naïve café — “quotes” … ½ ß ﬁ Ǆ",
    "Привет, мир! Ελληνικά. שלום עולם. مرحبا بالعالم",
    "你好，世界。こんにちは世界。안녕하세요 세계",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and ☃ ZWJ‍ NBSP\u00a0here",
    unicodedata.normalize("NFD", "décomposé Ångström"),
    'def f(x: int) -> str:\n    return f"{x!r}" if x >= 0 else None  # why\n',
    '{"product": "router", "urgency": 3, "tags": ["a", "b"], "ok": null}',
    "<div class='a'>&amp;</div> https://example.org/a?b=c&d=%20#e user@example.org",
    "SELECT COUNT(*) FROM t WHERE a<>b AND c LIKE '%x\\_y%';",
    "camelCaseHTTPServer snake_case_name SCREAMING_CASE kebab-case-word",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ................ ----------------",
    "<|im_start|> <s> </s> [INST] <0x0A> ▁ underscore▁block",
)


def texts_for(folder: ModelFolder) -> list[str]:
    """Return the probe texts and three that hold the model's own special tokens, in text."""
    special = [t["content"] for t in folder.tokenizer.get("added_tokens", []) if t.get("special")]
    added = [t["content"] for t in folder.tokenizer.get("added_tokens", []) if not t.get("special")]
    own = special[:8] + added[:8]
    composed = [
        "".join(f"{token}user\nHi  there {n}" for n, token in enumerate(own)),
        "".join(own),
        "".join(f"{token}\n a {n}" for n, token in enumerate(own)),
    ]
    return [*TEXTS, *(text for text in composed if text)]


def decomposed(text: str) -> bool:
    """Return whether NFC normalisation changes the text."""
    return unicodedata.normalize("NFC", text) != text
