"""Length of a part in characters, words or tokens."""

from tuneforge_specs.filters import LengthFilter

from tuneforge_datastore.filters import PARTS, Check, Setting
from tuneforge_datastore.functions import add

_MEASURES = {
    "characters": "length({part})",
    "words": "word_count({part})",
    "tokens": "token_count({part})",
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
        prepare=_count_tokens if spec.unit == "tokens" else lambda _setting: None,
    )


def _count_tokens(setting: Setting) -> None:
    from tuneforge_datastore.basemodel import required

    base = required(setting.folders.base, setting.place)
    add(setting.connection, "token_count", base.count_tokens, ["VARCHAR"], "BIGINT")
