"""Text that was decoded with the wrong encoding, or holds control characters."""

from tuneforge_specs.filters import EncodingFilter

from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.quoting import literal

_BROKEN = (
    r"\x{FFFD}",
    # UTF-8 read as Latin-1 or Windows-1252: é, ’ and “, no-break space and £, emoji.
    r"Ã[\x{80}-\x{BF}©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]",
    r"â(?:€|\x{80})[\x{80}-\x{BF}™œ˜\x{9D}“”¦¢¡]",
    r"Â[\x{80}-\x{BF}]",
    r"ð(?:Ÿ|\x{9F})",
    r"ï»¿|ï¿½",
    r"(?:[ÐÑ][\x{80}-\x{BF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]){2}",
    r"[\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}-\x{84}\x{86}-\x{9F}]",
)
PATTERN = "|".join(_BROKEN)


def check(_spec: EncodingFilter) -> Check:
    """Drop broken text; the evidence is the first broken place with what surrounds it."""
    whole = PARTS["whole"]
    around = rf"(?s).{{0,20}}(?:{PATTERN}).{{0,20}}"
    return Check(
        rule="encoding",
        keep=f"NOT regexp_matches({whole}, {literal(PATTERN)})",
        reason="'the text was decoded wrongly or holds control characters'",
        evidence=f"regexp_extract({whole}, {literal(around)})",
    )
