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
            "steps": 80,
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


def write_sft(folder: Path, base: Path, rows: int, mode: str = "sft") -> Path:
    """Render made-up conversations by hand, as the render step lays them out."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    folder.mkdir(parents=True)
    schema = pa.schema(
        [
            ("record_id", pa.string()),
            ("input_ids", pa.list_(pa.int32())),
            ("loss_mask", pa.list_(pa.uint8())),
            ("n_tokens", pa.int32()),
            ("n_supervised", pa.int32()),
            ("verdict", pa.string()),
        ]
    )
    for name, numbers in (("train", range(rows)), ("eval", range(rows, rows + 5))):
        table = []
        for n in numbers:
            prompt = f"<|im_start|>user\n{phrase(n, 2 + n % 5)}<|im_end|>\n<|im_start|>assistant\n"
            head = tokenizer.encode(prompt).ids
            tail = tokenizer.encode(f"{phrase(n % 2, 2 + n % 3)}<|im_end|>").ids
            table.append(
                {
                    "record_id": f"s:{n}",
                    "input_ids": head + tail,
                    "loss_mask": [0] * len(head) + [1] * len(tail),
                    "n_tokens": len(head + tail),
                    "n_supervised": len(tail),
                    "verdict": "whole",
                }
            )
        pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / f"{name}.parquet")
    _write_facts(folder, tokenizer, mode)
    return folder


def write_preference(folder: Path, base: Path, rows: int) -> Path:
    """Render made-up preference pairs by hand."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    folder.mkdir(parents=True)
    ids = pa.list_(pa.int32())
    schema = pa.schema(
        [
            ("record_id", pa.string()),
            ("prompt_ids", ids),
            ("chosen_ids", ids),
            ("rejected_ids", ids),
            ("n_tokens", pa.int32()),
            ("verdict", pa.string()),
        ]
    )
    for name, numbers in (("train", range(rows)), ("eval", range(rows, rows + 3))):
        table = []
        for n in numbers:
            prompt = f"<|im_start|>user\n{phrase(n, 2 + n % 5)}<|im_end|>\n<|im_start|>assistant\n"
            row = {
                "record_id": f"p:{n}",
                "prompt_ids": tokenizer.encode(prompt).ids,
                "chosen_ids": tokenizer.encode(f"{phrase(n, 2)}<|im_end|>").ids,
                "rejected_ids": tokenizer.encode(f"{phrase(n + 1, 5)}<|im_end|>").ids,
                "verdict": "whole",
            }
            row["n_tokens"] = len(row["prompt_ids"]) + len(row["rejected_ids"])
            table.append(row)
        pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / f"{name}.parquet")
    _write_facts(folder, tokenizer, "preference")
    return folder


def _write_facts(folder: Path, tokenizer: Any, mode: str) -> None:
    facts = {
        "v": 1,
        "mode": mode,
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "terminators": [tokenizer.token_to_id("<|im_end|>")],
        "bos": None,
        "pad": tokenizer.token_to_id("<|pad|>"),
        "max_tokens": 128,
        "counts": {},
        "tokenizer_sha256": "",
    }
    (folder / "rendering.json").write_text(json.dumps(facts))


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return write_sft(tmp_path_factory.mktemp("render") / "sft", base, 24)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return write_preference(tmp_path_factory.mktemp("render") / "pairs", base, 12)


JobMaker = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def job(base: Path, conversations: Path, pairs: Path) -> JobMaker:
    """Make train jobs; keywords of ``args``, ``adapter`` and ``loss`` change single values."""

    def make(
        method: str = "sft",
        *,
        args: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        quantize: str = "nf4",
        **fields: Any,
    ) -> dict[str, Any]:
        from tuneforge_specs.train import Args, DpoLoss, LoraAdapter

        plain = {"max_steps": 6, "learning_rate": 1e-2, "gradient_checkpointing": False}
        lora = LoraAdapter(kind="lora", r=4, alpha=8.0).model_dump(mode="json")
        return {
            "kind": "train",
            "name": "tiny",
            "method": method,
            "seed": 5,
            "threads": 1,
            "device": "cpu",
            "backend": "trl",
            "why": "test",
            "render": str(conversations if method == "sft" else pairs),
            "base": {
                "path": str(base),
                "id": "tiny-base",
                "digest": "d" * 64,
                "quantize": quantize,
                "dtype": "float32",
            },
            "start": None,
            "adapter": adapter if (adapter or {}).get("kind") == "full" else lora | (adapter or {}),
            "loss": DpoLoss().model_dump(mode="json") | (loss or {}) if method == "dpo" else {},
            "args": Args().model_dump(mode="json") | plain | (args or {}),
            **fields,
        }

    return make


@pytest.fixture
def train_here() -> Callable[[dict[str, Any], Path], Path]:
    """Run a train job in this process, where torch is loaded already; return its output."""

    def train(job: dict[str, Any], run_dir: Path) -> Path:
        from tuneforge.worker import WorkerRun, work_of

        for folder in (run_dir / "output", run_dir / "checkpoints", run_dir / "control"):
            folder.mkdir(parents=True, exist_ok=True)
        work_of(job["kind"])(job, WorkerRun(run_dir))
        return run_dir / "output"

    return train


@pytest.fixture
def events() -> Callable[..., list[dict[str, Any]]]:
    """Read the events of a run, all or by name."""

    def read(run_dir: Path, *names: str) -> list[dict[str, Any]]:
        lines = (run_dir / "events.jsonl").read_text().splitlines()
        all_of_them = [json.loads(line) for line in lines]
        return [e for e in all_of_them if not names or e["event"] in names]

    return read
