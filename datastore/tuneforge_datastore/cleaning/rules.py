"""What cleaning does to one text, rule by rule."""

import re
import unicodedata
from collections.abc import Callable

from tuneforge_datastore.cleaning import suspects

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")
_LINE_END = re.compile(r"\r\n?")
_TRAILING = re.compile(r"[ \t]+(?=\n)")
_GAP = re.compile(r"\n{4,}")
_BLANK = " \t\n\v\f\r"
_BLANK_LINES = re.compile(r"^(?:[ \t\v\f]*\n)+")


def mojibake(text: str) -> str:
    """Undo a wrong decoding, where ftfy finds that the text is one and reads better without it."""
    from ftfy import fix_encoding

    return fix_encoding(text)


def control(text: str) -> str:
    """Remove terminal escapes, control characters but tab and line ends, and byte order marks."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def nfc(text: str) -> str:
    """Compose characters (Unicode Standard Annex 15, form C)."""
    return unicodedata.normalize("NFC", text)


def whitespace(text: str) -> str:
    """Tidy white space; the indentation of a first line stays where others follow it (code)."""
    text = _LINE_END.sub("\n", text).rstrip(_BLANK)
    text = _BLANK_LINES.sub("", _TRAILING.sub("", text))
    text = _GAP.sub("\n\n\n", text)
    return text if "\n" in text else text.lstrip(_BLANK)


# In the order they are applied. Only what no other rule can bring about may wait for its flag:
# control characters gone may leave blanks at an end, or characters that compose.
RULES: dict[str, tuple[Callable[[str], str], int]] = {
    "mojibake": (mojibake, suspects.MOJIBAKE),
    "control": (control, 0),
    "nfc": (nfc, 0),
    "whitespace": (whitespace, 0),
}
FLAGS = {
    "mojibake": suspects.MOJIBAKE,
    "control": suspects.CONTROL,
    "nfc": suspects.NFC,
    "whitespace": suspects.SPACE,
}
