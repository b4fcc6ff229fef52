"""Stop a process, alive, at the moment it opens or renames a path that matches FREEZE_AT.

Python loads this by itself from PYTHONPATH. What kills the process then kills it mid-write, every
time at the same place. FREEZE_MARK is a file that says the place is reached.
"""

import os
import re
import sys
import time
from typing import Any

_AT = re.compile(os.environ["FREEZE_AT"])
_MARK = os.environ["FREEZE_MARK"]
_seen: list[str] = []


def _freeze(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "os.rename") or _seen:
        return
    path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
    if _AT.search(f"{event} {path}"):
        _seen.append(path)
        os.close(os.open(_MARK, os.O_CREAT | os.O_WRONLY))
        time.sleep(3600)


sys.addaudithook(_freeze)
