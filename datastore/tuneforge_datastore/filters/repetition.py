"""Texts that repeat their lines or words; the rules are in ``tuneforge_datastore.repetition``."""

from tuneforge_specs.filters import RepetitionFilter

from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.repetition import NAME


def check(spec: RepetitionFilter) -> Check:
    """Drop above the limits; the score is the worst measure over its limit."""
    excess = f"({NAME}({PARTS[spec.of]}) * {spec.strictness})"
    return Check(
        rule="repetition",
        keep=f"{excess} <= 1",
        score=excess,
        reason=f"'repeats itself ' || round({excess}, 2) || ' times as much as is allowed'",
    )
