"""What of a record its rendering depends on, and the digest of that."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from jinja2 import __version__ as jinja_version
from tokenizers import __version__ as tokenizers_version

from tuneforge_datastore.render import VERSION
from tuneforge_datastore.render.rows import Rules

# Nothing else of a record is read, so that rows of equal content have equal renderings.
COLUMNS = (
    *("kind", "split", "system", "messages", "chosen", "rejected", "label", "text", "tools"),
)
DIGEST = 16


def content_of(record: Mapping[str, Any]) -> bytes:
    """Digest all of a record that its rendering depends on; its id is not among that."""
    held = [record.get(column) for column in COLUMNS]
    return blake2b(_canonical(held), digest_size=DIGEST).digest()


def rules_digest(mode: str, rules: Rules) -> str:
    """Digest all besides a record that its rendering depends on.

    ``""`` for a template that writes the time of day: its rows are never the same again.
    """
    source, vocabulary = rules.fitted.template.source, rules.vocabulary
    if "strftime_now" in source:
        return ""
    held = [
        [VERSION, tokenizers_version, jinja_version, mode],
        [rules.spec.model_dump(mode="json"), source, rules.fitted.terminator],
        [vocabulary.sha256, vocabulary.variables, vocabulary.wants_bos],
    ]
    return blake2b(_canonical(held), digest_size=DIGEST).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
