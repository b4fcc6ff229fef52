"""Personal data and secrets: dropped, redacted or tagged; see ``tuneforge_datastore.personal``."""

from tuneforge_specs.filters import PiiFilter

from tuneforge_datastore.filters import PARTS, Check, Pass, Setting
from tuneforge_datastore.ledger import DROPS, Ledger
from tuneforge_datastore.personal import PATTERNS, RESERVED
from tuneforge_datastore.quoting import literal


def check(spec: PiiFilter) -> Check | Pass:
    """Do with the records that have some what ``action`` says."""
    found = _check(spec)
    if spec.action == "drop":
        return found
    if spec.action == "tag":
        return Pass("pii", lambda setting, ledger: _tag(found, setting, ledger))
    return Pass("pii", lambda setting, ledger: _redact(spec, setting, ledger))


def _tag(found: Check, setting: Setting, ledger: Ledger) -> None:
    from tuneforge_datastore.filtering import failed

    rows = failed(setting.connection, ledger, {0: found}, setting.place).select(DROPS.names)
    ledger.note(setting.stage, found.rule, rows.cast(DROPS), "tagged")


def _redact(spec: PiiFilter, setting: Setting, ledger: Ledger) -> None:
    from tuneforge_datastore.redaction import redact_rows

    rows = redact_rows(ledger, spec, setting.folders, setting.stage)
    ledger.note(setting.stage, "pii", rows, "changed")


def _check(spec: PiiFilter) -> Check:
    """Fail on the first find; the evidence is what was found, all but its ends masked."""
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
        matches = f"list_filter({matches}, lambda m: NOT regexp_matches(m, {literal(RESERVED)}))"
    if kind == "card":
        matches = f"list_filter({matches}, lambda m: {luhn_sql('m')})"
    if kind == "iban":
        matches = f"list_filter({matches}, lambda m: {mod97_sql('m')})"
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


def mod97_sql(number: str) -> str:
    """Write the check of an account number (ISO 13616): 15 to 34 characters, 1 modulo 97."""
    plain = f"replace({number}, ' ', '')"
    moved = f"({plain}[5:] || {plain}[1:4])"
    # Letters count 10 to 35: a letter is two digits.
    values = (
        rf"list_transform(regexp_extract_all({moved}, '.'), lambda c: "
        "CASE WHEN c <= '9' THEN ascii(c) - 48 ELSE ascii(c) - 55 END)"
    )
    rest = (
        f"list_reduce({values}, lambda a, v: (a * (CASE WHEN v > 9 THEN 100 ELSE 10 END) + v) % 97)"
    )
    return f"(length({plain}) BETWEEN 15 AND 34 AND {rest} = 1)"
