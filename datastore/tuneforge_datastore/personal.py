"""Personal data and secrets in a text: what they look like, and that they are what they seem."""

import re
from collections.abc import Callable, Iterator, Sequence

# Written for RE2 (Arrow) and for Python's `re` with ASCII classes alike.
PATTERNS = {
    # Keys whose makers gave them a prefix to be found by, private keys, and JSON Web Tokens.
    "key": r"\b(?:sk-[A-Za-z0-9_-]{20,}|sk_(?:live|test)_[A-Za-z0-9]{16,}|"
    r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|"
    r"A(?:KIA|SIA)[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|"
    r"hf_[A-Za-z0-9]{30,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+)|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    # Addresses under the domains reserved for examples (RFC 2606) are nobody's.
    "email": r"\b[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b",
    "iban": r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card": r"\b(?:[3-6]|2[2-7])(?:[ -]?[0-9]){12,17}\b",
    # International form (a sum such as 5+60000 is none), or the North American one.
    "phone": r"(?:(?:^|[\s(:,;\"'])\+[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9]{2,4}"
    r"(?:[ .-]?[0-9]{2,4}){2,4}|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|"
    r"\b[0-9]{3}[.-][0-9]{3}[.-][0-9]{4})\b",
}
_EXAMPLE = r"(?i)[@.](?:example\.(?:com|org|net)|[a-z0-9-]+\.(?:test|example|invalid))$"
# Inside JSON an escape may stand where a word begins: these find at least as much.
LOOSE = {
    kind: pattern.replace(r"\b", "").replace(r"(?:^|[\s(:,;\"'])", "")
    for kind, pattern in PATTERNS.items()
}
_COMPILED = {kind: re.compile(pattern, re.ASCII) for kind, pattern in PATTERNS.items()}
_RESERVED = re.compile(_EXAMPLE, re.ASCII)


def luhn(number: str) -> bool:
    """Check the digits of a card number (ISO/IEC 7812-1); all the same are no card."""
    digits = [int(digit) for digit in re.findall("[0-9]", number)]
    doubled = [
        d if place % 2 == 0 else (2 * d if d < 5 else 2 * d - 9)
        for place, d in enumerate(reversed(digits))
    ]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def mod97(number: str) -> bool:
    """Check an account number (ISO 13616): 15 to 34 characters, 1 modulo 97."""
    plain = number.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


_HOLDS: dict[str, Callable[[str], bool]] = {
    "key": lambda _found: True,
    "phone": lambda _found: True,
    "email": lambda found: _RESERVED.search(found) is None,
    "iban": mod97,
    "card": luhn,
}


def spans(text: str, kind: str) -> Iterator[tuple[int, int]]:
    """Give where in a text data of a kind stands."""
    for match in _COMPILED[kind].finditer(text):
        found = match.group()
        if not _HOLDS[kind](found):
            continue
        # What stands before an international number is matched with it, but not part of it.
        begin = match.start() + (len(found) - len(found.lstrip(" \t\r\n\f\v(:,;\"'")))
        yield (begin if kind == "phone" and "+" in found else match.start()), match.end()


def redact(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Write the name of its kind for each find; give the text, and the finds by kind.

    Longer forms go first: the digits of an account number are no phone number.
    """
    counts: dict[str, int] = {}
    for kind in PATTERNS:
        if kind not in kinds:
            continue
        parts, at = [], 0
        for begin, end in spans(text, kind):
            parts += [text[at:begin], f"[{kind.upper()}]"]
            at = end
        if parts:
            counts[kind] = len(parts) // 2
            text = "".join([*parts, text[at:]])
    return text, counts
