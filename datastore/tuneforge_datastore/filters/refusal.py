"""Completions that refuse, or speak of themselves as an AI instead of answering."""

import re

from tuneforge_specs.filters import RefusalFilter

from tuneforge_datastore.filters import Check
from tuneforge_datastore.quoting import literal

_DEED = "help|assist|answer|provide|fulfil|comply|do that|create|generate|write|discuss|support"
# At the very beginning of an answer. Further in, the same words are often the answer's own.
OPENING = (
    r"(?:i['’]?m|i am) (?:very |so |truly |really )?sorry,? (?:but|i (?:can|am|do)|that i)",
    r"sorry,? (?:but )?i (?:can|am un|am not|do not|don['’]t)",
    r"i apologi[sz]e,? (?:but|for)",
    r"unfortunately,? i (?:can|am un|am not|do not|don['’]t)",
    rf"i (?:can(?:not|['’]t| not)|am unable to|am not able to|won['’]t|will not) (?:{_DEED})",
    r"i['’]m (?:unable|not able) to",
)
# Anywhere near the beginning.
ANYWHERE = (
    r"as an? (?:ai|artificial intelligence|language model|large language model)\b",
    r"i['’]?(?:m| am) (?:just |only )?an? (?:ai|language model|artificial intelligence)\b",
    r"(?:goes )?against my (?:programming|guidelines|ethical)",
    r"i (?:do not|don['’]t) have (?:personal (?:opinions|beliefs|experiences)|the ability to)",
)
_NEAR = 400


def check(spec: RefusalFilter) -> Check:
    """Drop on the shipped patterns near the start, or on any of ``phrases`` anywhere."""
    shipped = rf"(?i)^\W*(?:{'|'.join(OPENING)})|(?:{'|'.join(ANYWHERE)})"
    found = f"regexp_extract(left(completion, {_NEAR}), {literal(shipped)})"
    if spec.phrases:
        own = "(?i)" + "|".join(re.escape(phrase) for phrase in spec.phrases)
        found = f"coalesce(nullif({found}, ''), regexp_extract(completion, {literal(own)}))"
    return Check(
        rule="refusal",
        keep=f"{found} = ''",
        reason="'the completion refuses'",
        evidence=found,
    )
