"""Records in which something is missing: a prompt, a completion or a turn."""

from tuneforge_specs.filters import EmptyFilter

from tuneforge_datastore.filters import Check

_BLANK = r"NOT regexp_matches({0}, '\S')"
_TURN = f"m.role <> 'system' AND m.tool_calls = '' AND {_BLANK.format('m.content')}"
_EMPTY_TURN = "len(list_filter(messages || chosen || rejected, lambda m: " + _TURN + ")) > 0"


def check(_spec: EmptyFilter) -> Check:
    """Drop what has nothing to learn from, or nothing to learn it for."""
    no_prompt = f"(kind <> 'text' AND {_BLANK.format('prompt')})"
    no_completion = _BLANK.format("completion")
    no_rejected = "(kind = 'preference' AND len(rejected) = 0)"
    return Check(
        rule="empty",
        keep=f"NOT ({no_completion} OR {no_prompt} OR {no_rejected} OR {_EMPTY_TURN})",
        reason=f"CASE WHEN {no_completion} THEN 'the completion is empty' "
        f"WHEN {no_prompt} THEN 'the prompt is empty' ELSE 'a turn is empty' END",
    )
