"""Parts that are only web addresses."""

from tuneforge_specs.filters import UrlFilter

from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.quoting import literal

_ONLY = r"^(?:[\s<\[(]*(?:https?://|www\.)\S+[\s>\])]*)+$"


def check(spec: UrlFilter) -> Check:
    """Drop where nothing is left beside the addresses."""
    return Check(
        rule="url-only",
        keep=f"NOT regexp_matches({PARTS[spec.of]}, {literal(_ONLY)})",
        reason=f"'the {spec.of} is nothing but web addresses'",
        evidence=PARTS[spec.of],
    )
