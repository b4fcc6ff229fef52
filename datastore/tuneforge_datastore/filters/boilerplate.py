"""Phrases that come with a page or a chat window rather than with an answer."""

import re

from tuneforge_specs.filters import BoilerplateFilter

from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.quoting import literal

PHRASES = (
    # Raffel et al. 2020, arXiv:1910.10683, section 2.2 (C4): policies, placeholder text, scripts.
    r"lorem ipsum",
    r"(?:terms of use|privacy policy|cookie policy|use of cookies|uses? cookies)\b",
    r"(?:enable|requires?|turn on) javascript\b",
    # The frame of a page.
    r"all rights reserved\b",
    r"(?:click|tap) here to (?:subscribe|unsubscribe|sign up|register|log in|continue reading)\b",
    r"(?:sign up for|subscribe to) our (?:free )?newsletter\b",
    r"this page (?:was|has been) intentionally left blank\b",
    # The frame of a chat: buttons, notices, slots left empty.
    r"(?:regenerate response|as of my (?:last )?knowledge (?:cutoff|update))\b",
    r"\[(?:your|insert|company|recipient|sender)(?:['’]s)? [a-z ]{2,30}\]",
)


def check(spec: BoilerplateFilter) -> Check:
    """Drop on the shipped phrases or those of ``phrases``; the evidence is the first found."""
    own = (re.escape(phrase) for phrase in spec.phrases)
    found = f"regexp_extract({PARTS[spec.of]}, {literal('(?i)' + '|'.join([*PHRASES, *own]))})"
    return Check(
        rule="boilerplate",
        keep=f"{found} = ''",
        reason=f"'the {spec.of} holds boilerplate'",
        evidence=found,
    )
