"""Texts made of symbols or digits rather than words."""

from tuneforge_specs.filters import SymbolsFilter

from tuneforge_datastore.characters import NAMES
from tuneforge_datastore.filters import PARTS, Check


def check(spec: SymbolsFilter) -> Check:
    """Drop above ``max``; the score is the share of the characters that are not white space."""
    share = f"{NAMES[spec.what]}({PARTS[spec.of]})"
    return Check(
        rule="symbols",
        keep=f"{share} <= {spec.max}",
        score=share,
        reason=f"round(100 * {share}) || '% {spec.what}: more than {spec.max:.0%}'",
    )
