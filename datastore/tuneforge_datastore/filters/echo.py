"""Answers that repeat the question instead of answering it."""

from tuneforge_specs.filters import EchoFilter

from tuneforge_datastore.filters import Check

_FOLDED = r"trim(regexp_replace(lower({0}), '\s+', ' ', 'g'))"


def check(spec: EchoFilter) -> Check:
    """Drop where the completion begins with the prompt, case and white space aside."""
    prompt, completion = _FOLDED.format("prompt"), _FOLDED.format("completion")
    return Check(
        rule="echo",
        keep=f"CASE WHEN kind = 'text' OR length(prompt) < {spec.min} THEN true "
        f"ELSE length({prompt}) < {spec.min} OR NOT starts_with({completion}, {prompt}) END",
        reason="'the completion repeats the prompt'",
        evidence="left(prompt, 80)",
    )
