"""A conversation in lines of JSON, for programs: requests come in, events go out.

Requests: ``{"say": TEXT}`` and ``{"reset": true}``. Events, by their ``event``: ``loading`` and
``ready`` (``model``), ``piece`` (``text``), ``answer`` (``text``, ``tokens``, ``ended``: by the
model itself, ``seconds``), ``reset``, and ``refused`` (``message``) for a line that is no request.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from tuneforge.chat.conversation import Conversation, Manner
from tuneforge.chat.speaker import Speaker


def serve(
    speaker: Speaker, manner: Manner, requests: Iterable[str], write: Callable[[str], None]
) -> None:
    """Load the model, then answer until the requests end; each event is one call of ``write``."""

    def tell(event: str, **fields: Any) -> None:
        write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")

    conversation = Conversation(speaker, manner, lambda piece: tell("piece", text=piece))
    tell("loading", model=speaker.name)
    conversation.load()
    tell("ready", model=speaker.name)
    for line in requests:
        request = _read(line)
        if request.get("reset") is True:
            conversation.reset()
            tell("reset")
        elif isinstance(request.get("say"), str) and request["say"].strip():
            started = time.monotonic()
            said = conversation.ask(request["say"])
            tell("answer", **vars(said), seconds=time.monotonic() - started)
        else:
            tell("refused", message='not {"say": TEXT} or {"reset": true}')


def _read(line: str) -> dict[str, Any]:
    """Read a request; what is no JSON object asks for nothing."""
    try:
        request = json.loads(line)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}
