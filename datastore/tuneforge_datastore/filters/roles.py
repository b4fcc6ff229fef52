"""Conversations in which the turns are out of order."""

from tuneforge_specs.filters import RolesFilter

from tuneforge_datastore.filters import Check

# One letter a turn: system, user, assistant, tool. Calls and results may go to and fro.
_LETTERS = "array_to_string(list_transform(messages, lambda m: left(m.role, 1)), '')"
_WHOLE = "^s?(ua(t+a)*)+$"
_PROMPT = "^s?(ua(t+a)*)*u(at+)*$"


def check(_spec: RolesFilter) -> Check:
    """Keep user and assistant in turn, after at most one system turn, up to an answer."""
    roles = "array_to_string(list_transform(messages, lambda m: m.role), ', ')"
    return Check(
        rule="roles",
        keep="CASE kind WHEN 'text' THEN true "
        f"WHEN 'preference' THEN regexp_matches({_LETTERS}, '{_PROMPT}') "
        f"ELSE regexp_matches({_LETTERS}, '{_WHOLE}') END",
        reason="'the turns are out of order'",
        evidence=roles,
    )
