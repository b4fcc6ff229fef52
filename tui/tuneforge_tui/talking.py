"""A model in a process of its own that answers what is asked, one event a line."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneforge_specs.loader import load

from tuneforge.chat.speaker import models_of
from tuneforge.runs import RunFolder
from tuneforge.workspace import Workspace

LONGEST = 1024  # tokens of an answer


def built_models(spec: Path, workspace: Workspace) -> list[str]:
    """Name the models of a spec that are built, the last one of the spec first."""
    loaded = load(spec)
    base = workspace.last("base", loaded.path)
    steps = [step for step in models_of(loaded) if workspace.last(step, loaded.path)]
    return steps[::-1] if base else []


def training(workspace: Workspace) -> str:
    """Name a run that is going on, "" where none is: a second model may not fit beside it."""
    for job in sorted((workspace.root / "runs").glob("*/*/job.json")):
        if RunFolder(job.parent).alive():
            return job.parent.parent.name
    return ""


def command(model: str, spec: Path, workspace: Workspace) -> list[str]:
    """Give the command that answers for a model."""
    words = [sys.executable, "-m", "tuneforge", "chat", model, "--json"]
    words += ["--spec", str(spec), "--workspace", str(workspace.root)]
    return [*words, "--max-new-tokens", str(LONGEST)]


class Talk:
    """``tuneforge chat --json`` on one model. It ends with the cockpit: its input does."""

    def __init__(self, model: str, spec: Path, workspace: Workspace) -> None:
        self.model = model
        # Not a pipe: nobody reads it before the end, and a full one would stop the process.
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command(model, spec, workspace),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,  # Ctrl-C in the cockpit's terminal is not for it
        )

    def send(self, **request: Any) -> None:
        """Write one request; a process that is gone says why through ``events``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def events(self) -> Iterator[dict[str, Any]]:
        """Read events until the process ends; the last one is ``gone``, with its last words."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)
        code = self._process.wait()
        with self._said:
            self._said.seek(0)
            words = self._said.read().strip().splitlines()
        yield {"event": "gone", "code": code, "message": "\n".join(words[-4:])}

    def close(self) -> None:
        """End the process, in the middle of an answer too."""
        self._process.terminate()
