"""Chat messages: ``messages`` of ``role``/``content``, with ``tools``, calls and weights."""

from functools import partial

from tuneforge_datastore.ingest.formats import Format
from tuneforge_datastore.ingest.formats.sharegpt import conversation, conversation_fits

MESSAGE_COLUMNS = ("messages",)

MESSAGES = Format(
    "messages",
    partial(conversation_fits, names=MESSAGE_COLUMNS),
    partial(conversation, names=MESSAGE_COLUMNS),
)
