"""Length of a part in characters or words."""

from tuneforge_specs.filters import LengthFilter

from tuneforge_datastore.filters import PARTS, Check

_MEASURES = {
    "characters": "length({part})",
    "words": "word_count({part})",
}


def check(spec: LengthFilter) -> Check:
    """Keep between ``min`` and ``max``; the score is the length."""
    measure = _MEASURES[spec.unit].format(part=PARTS[spec.of])
    outside = (
        f"CASE WHEN {measure} < {spec.min} THEN 'fewer than the least, {spec.min}' "
        f"ELSE 'more than the most, {spec.max}' END"
    )
    return Check(
        rule="length",
        # min <= x <= max in a form that measures once; BETWEEN would measure twice.
        keep=f"abs(2 * {measure} - {spec.min + spec.max}) <= {spec.max - spec.min}",
        score=measure,
        reason=f"'{spec.of} of ' || {measure} || ' {spec.unit}: ' || {outside}",
    )
