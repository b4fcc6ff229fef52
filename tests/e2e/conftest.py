"""Real builds through the command line, each in a folder of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent / "light"))

# stands where a spec says #TINY
TINY = """[base.scratch]
hidden = 32
layers = 2
heads = 2
kv_heads = 2
intermediate = 64
vocab = 512
context = 1024
steps = 3
batch = 2
sequence = 64
"""


@dataclass(frozen=True)
class Project:
    """A folder with a spec and the workspace beside it."""

    folder: Path
    one_thread: bool = False

    @property
    def workspace(self) -> Path:
        return self.folder / ".tuneforge"

    def start(self, *words: str) -> subprocess.Popen[str]:
        cores = os.sched_getaffinity(0)
        # a build uses as many threads as it has cores, and a child has its parent's
        os.sched_setaffinity(0, {min(cores)} if self.one_thread else cores)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "tuneforge", *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, cores)

    def run(self, *words: str, code: int = 0) -> str:
        """Run one command; give what it said on both streams."""
        process = self.start(*words)
        out, err = process.communicate(timeout=1500)
        assert process.returncode == code, f"{' '.join(words)}: {process.returncode}\n{out}\n{err}"
        return out + err

    def artifact(self, step: str) -> Path:
        """The current artifact folder of a step."""
        (state,) = (self.workspace / "state").glob("*.json")
        key = json.loads(state.read_text())[step]
        kind, _, name = step.partition(".")
        return self.workspace / "artifacts" / kind / (name or kind) / key[:16]

    def digest(self, step: str) -> str:
        return json.loads((self.artifact(step) / "manifest.json").read_text())["digest"]

    def rows(self, step: str, file: str) -> list[dict[str, Any]]:
        return pq.read_table(self.artifact(step) / file).to_pylist()

    def json(self, step: str, file: str) -> Any:
        return json.loads((self.artifact(step) / file).read_text())

    def events(self) -> list[dict[str, Any]]:
        """The events of the newest build."""
        logs = sorted((self.workspace / "builds").glob("*/events.jsonl"))
        return [json.loads(line) for line in logs[-1].read_text().splitlines()]


@pytest.fixture(scope="session")
def tiny() -> str:
    """The table of a base that is made in moments; its corpus goes below it."""
    return TINY


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    """Make a project from a spec's text, in which #TINY stands for a base made in moments."""

    def make(spec: str, *, one_thread: bool = False) -> Project:
        (tmp_path / "spec.toml").write_text(spec.replace("#TINY", TINY))
        return Project(tmp_path, one_thread)

    return make


@pytest.fixture(scope="session")
def make_project() -> type[Project]:
    """Take a folder that holds a spec.toml already."""
    return Project
