"""Personal data and secrets: mail addresses, phone and card numbers, access keys."""

from tuneforge_specs.filters import PiiFilter

from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.quoting import literal

PATTERNS = {
    # Addresses under the domains reserved for examples (RFC 2606) are nobody's.
    "email": r"(?i)\b[a-z0-9._%+-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}\b",
    # International form (a sum such as 5+60000 is none), or the North American one.
    "phone": r"(?:(?:^|[\s(:,;])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}"
    r"(?:[ .-]?\d{2,4}){2,4}|\(\d{3}\) ?\d{3}[ .-]\d{4}|\b\d{3}[.-]\d{3}[.-]\d{4})\b",
    "card": r"\b(?:[3-6]|2[2-7])(?:[ -]?\d){12,17}\b",
    # Keys whose makers gave them a prefix to be found by, private keys, and JSON Web Tokens.
    "key": r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|"
    r"xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|hf_[A-Za-z0-9]{30,}|"
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+)|-----BEGIN [A-Z ]*PRIVATE KEY",
}
_RESERVED = r"(?i)[@.](?:example\.(?:com|org|net)|[a-z0-9-]+\.(?:test|example|invalid))$"


def check(spec: PiiFilter) -> Check:
    """Drop on the first find; the evidence is what was found, all but its ends masked."""
    text = PARTS[spec.of]
    found: dict[str, str] = {kind: _found(kind, text) for kind in spec.find}
    return Check(
        rule="pii",
        keep=" AND ".join(f"{one} IS NULL" for one in found.values()),
        reason=_first(found, {kind: literal(f"{kind} found") for kind in found}),
        evidence=_first(
            found,
            {kind: f"left({one}, 2) || '…' || right({one}, 2)" for kind, one in found.items()},
        ),
    )


def _first(found: dict[str, str], shown: dict[str, str]) -> str:
    cases = " ".join(f"WHEN {one} IS NOT NULL THEN {shown[kind]}" for kind, one in found.items())
    return f"CASE {cases} END"


def _found(kind: str, text: str) -> str:
    matches = f"regexp_extract_all({text}, {literal(PATTERNS[kind])})"
    if kind == "email":
        matches = f"list_filter({matches}, lambda m: NOT regexp_matches(m, {literal(_RESERVED)}))"
    if kind == "card":
        matches = f"list_filter({matches}, lambda m: {luhn_sql('m')})"
    return f"trim({matches}[1])"


def luhn_sql(number: str) -> str:
    """Write the Luhn check (ISO/IEC 7812-1) of a text with digits and separators."""
    digits = rf"list_transform(regexp_extract_all({number}, '\d'), lambda d: d::INT)"
    doubled = (
        f"list_transform(list_reverse({digits}), lambda d, place: "
        "CASE WHEN place % 2 = 1 THEN d WHEN d > 4 THEN 2 * d - 9 ELSE 2 * d END)"
    )
    # Digits all the same pass the sum but are no card.
    return rf"(list_sum({doubled}) % 10 = 0 AND len(list_distinct({digits})) > 1)"
