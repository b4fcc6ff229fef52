"""One JSON object a line, as they are written to the build's log."""

import json
from typing import TextIO

from tuneforge.console.base import Event


class JsonLines:
    """For scripts: events verbatim."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: the stream is not ours."""
