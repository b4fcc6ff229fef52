"""Texts made of symbols or digits rather than words."""

from tuneforge_specs.filters import SymbolsFilter

from tuneforge_datastore.filters import PARTS, Check

# What is taken away to count the rest; marks belong to the letters they stand on.
_WITHOUT = {"symbols": r"[^\p{L}\p{N}\p{M}\s]+", "digits": r"\p{N}+"}


def check(spec: SymbolsFilter) -> Check:
    """Drop above ``max``; the score is the share of the characters that are not white space."""
    text = PARTS[spec.of]
    visible = rf"regexp_replace({text}, '\s+', '', 'g')"
    rest = f"length(regexp_replace({visible}, '{_WITHOUT[spec.what]}', '', 'g'))"
    share = f"(1.0 - {rest} / greatest(1, length({visible})))"
    return Check(
        rule="symbols",
        keep=f"{visible} = '' OR {share} <= {spec.max}",
        score=share,
        reason=f"round(100 * {share}) || '% {spec.what}: more than {spec.max:.0%}'",
    )
