"""Tiny bases, renderings and runs for tests that train."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WORDS = [
    "red",
    "green",
    "blue",
    "black",
    "white",
    "small",
    "large",
    "round",
    "flat",
    "quick",
    "slow",
    "warm",
    "cold",
    "old",
    "new",
]

TURN = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
        ("weight", pa.float64()),
    ]
)
RECORDS = pa.schema(
    [
        ("kind", pa.string()),
        ("text", pa.string()),
        ("messages", pa.list_(TURN)),
        ("chosen", pa.list_(TURN)),
    ]
)


def turn(role: str, content: str) -> dict[str, Any]:
    return {
        "role": role,
        "content": content,
        "tool_calls": "",
        "tool_call_id": "",
        "name": "",
        "weight": 1.0,
    }


def phrase(n: int, length: int) -> str:
    return " ".join(WORDS[(n * 7 + i * (n + 3)) % len(WORDS)] for i in range(length))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write records.parquet with a few texts and conversations."""
    rows = [
        {"kind": "text", "text": phrase(n, 30), "messages": [], "chosen": []} for n in range(40)
    ]
    rows += [
        {
            "kind": "instruction",
            "text": "",
            "messages": [turn("user", phrase(n, 5)), turn("assistant", phrase(n + 1, 4))],
            "chosen": [],
        }
        for n in range(40)
    ]
    path = tmp_path_factory.mktemp("corpus") / "records.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=RECORDS), path)
    return path


@pytest.fixture(scope="session")
def scratch_job(corpus: Path) -> dict[str, Any]:
    """Describe a base of hidden 32 and 2 layers."""
    return {
        "kind": "scratch",
        "seed": 3,
        "threads": 1,
        "corpus": [str(corpus)],
        "scratch": {
            "hidden": 32,
            "layers": 2,
            "heads": 2,
            "kv_heads": 2,
            "intermediate": 64,
            "vocab": 320,
            "context": 128,
            "steps": 12,
            "batch": 4,
            "sequence": 24,
            "learning_rate": 1e-2,
        },
    }


class Recorder:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def progress(self, done: float, total: float, unit: str = "") -> None:
        self.told.append(("progress", done))

    def log(self, message: str) -> None:
        self.told.append(("log", message))

    def warn(self, message: str) -> None:
        self.told.append(("warn", message))

    def metrics(self, values: Any) -> None:
        self.told.append(("metrics", dict(values)))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.told if name == kind]


@pytest.fixture
def report() -> Recorder:
    return Recorder()


Losses = Callable[[Path], dict[int, float]]


@pytest.fixture
def losses() -> Losses:
    """Read the loss of every step of a run; a later attempt's word counts."""

    def read(run_dir: Path) -> dict[int, float]:
        lines = (run_dir / "events.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return {e["step"]: e["loss"] for e in events if e["event"] == "step"}

    return read


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, scratch_job: dict[str, Any]) -> Path:
    """Make the base once; its model folder."""
    from tuneforge.runs import run_job

    folder = tmp_path_factory.mktemp("base") / "run"
    return run_job(folder, scratch_job, Recorder()).output
