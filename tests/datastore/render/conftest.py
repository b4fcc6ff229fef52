"""Tokenizers trained on the fly, and unified records to render."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tuneforge_datastore.render.chunk import Job, prepare
from tuneforge_datastore.render.rows import Rules
from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_specs.datasets import Template

TEXT = """The quick brown fox jumps over the lazy dog. Wörter mit Ümlauten, 今天天气很好 and 🙂.
user assistant system response instruction Below is an instruction that describes a task.
{"name": "get_weather", "arguments": {"city": "Paris"}} [INST] [/INST] \n\n\na\n\n\nb\n\n\n"""

MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("tool_calls", pa.string()),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
            ("weight", pa.float64()),
        ]
    )
)
RECORDS = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("system", pa.string()),
        ("messages", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("label", pa.bool_()),
        ("text", pa.string()),
        ("tools", pa.string()),
        ("split", pa.string()),
    ]
)


def control_tokens() -> list[str]:
    """Every control token of every shipped template."""
    return list(dict.fromkeys(token for one in SHIPPED.values() for token in one.control))


def write_model(
    folder: Path, *, bos: bool, special: list[str] | None = None, **config: Any
) -> Path:
    """Train a byte-level BPE tokenizer and save it as a model folder does."""
    tokens = ["<s>", "</s>", *(control_tokens() if special is None else special)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that begins texts with BOS."""
    return write_model(tmp_path_factory.mktemp("model"), bos=True)


@pytest.fixture(scope="session")
def model_without_bos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that adds nothing to texts."""
    return write_model(tmp_path_factory.mktemp("model"), bos=False)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Make a tokenizer folder to order."""
    return lambda **options: write_model(tmp_path / "made", **{"bos": False, **options})


@pytest.fixture(scope="session")
def vocabulary(model: Path) -> Vocabulary:
    return Vocabulary(model)


@pytest.fixture
def rules(model: Path, tmp_path: Path) -> Callable[..., Rules]:
    """Fit a template to a tokenizer, as a step does."""

    def fitted(chat: str = "chatml", folder: Path = model, **options: Any) -> Rules:
        template = Template(chat=chat, **{"max_tokens": 4096, **options})
        return prepare(Job("sft", template, folder, tmp_path))

    return fitted


def turn(role: str, content: str = "", **more: Any) -> dict[str, Any]:
    """One message as records hold it."""
    empty = {"tool_calls": "", "tool_call_id": "", "name": "", "weight": 1.0}
    return {"role": role, "content": content, **empty, **more}


def record(messages: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """One unified record."""
    empty = {"chosen": [], "rejected": [], "label": None, "text": "", "tools": "", "system": ""}
    base = {"id": "s:0", "kind": "instruction", "split": "train", "messages": messages or []}
    return {**base, **empty, **more}


@pytest.fixture(scope="session")
def make_turn() -> Callable[..., dict[str, Any]]:
    return turn


@pytest.fixture(scope="session")
def make_record() -> Callable[..., dict[str, Any]]:
    return record


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    """Write records as a dataset step does; ids are numbered."""

    def write(records: list[dict[str, Any]]) -> Path:
        rows = [{**row, "id": f"s:{number}"} for number, row in enumerate(records)]
        file = tmp_path / "kept.parquet"
        pq.write_table(pa.Table.from_pylist(rows, RECORDS), file)
        return file

    return write


TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather <now>, & soon",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
    ]
)
CALLS = json.dumps(
    [
        {
            "id": "call12345",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
        },
        {"name": "get_weather", "arguments": {"city": "Paris"}},
    ]
)


@pytest.fixture(scope="session")
def conversations() -> dict[str, dict[str, Any]]:
    """Conversations shaped like real ones, edges included."""
    hello = [turn("user", "Hello, how are you?"), turn("assistant", "Fine, thank you.")]
    return {
        "one turn": record(hello),
        "several turns": record([*hello, turn("user", "And now?"), turn("assistant", "Still.")]),
        "system": record([turn("system", "Answer briefly."), *hello]),
        "system of the record": record(hello, system="Answer at length."),
        "unicode": record([turn("user", "今天 🙂 é"), turn("assistant", "Ünïcode: 天气很好 🙂🙂")]),
        "white space": record([turn("user", "  spaced \n\n"), turn("assistant", "\n\n out \n ")]),
        "empty answer": record([turn("user", "Say nothing."), turn("assistant", "")]),
        "ends with the user": record([*hello, turn("user", "One more thing")]),
        "two users": record([turn("user", "a"), turn("user", "b"), turn("assistant", "c")]),
        "html": record(
            [turn("user", "<b> & 'x' \"y\""), turn("assistant", "{{ not a template }}")]
        ),
    }


@pytest.fixture(scope="session")
def tool_conversations() -> dict[str, dict[str, Any]]:
    """Conversations with tool descriptions, calls and results."""
    asked = [
        turn("user", "Weather?"),
        turn("assistant", "", tool_calls=CALLS),
        turn("tool", '{"degrees": 21}', tool_call_id="call12345", name="get_weather"),
        turn("tool", '{"degrees": 25}', name="get_weather"),
        turn("assistant", "21 and 25 degrees."),
    ]
    return {
        "calls": record(asked, tools=TOOLS),
        "calls and system": record([turn("system", "Use tools."), *asked], tools=TOOLS),
        "words before a call": record(
            [asked[0], turn("assistant", "I will look.", tool_calls=CALLS), *asked[2:]], tools=TOOLS
        ),
        "tools unused": record([turn("user", "Hi"), turn("assistant", "Hello")], tools=TOOLS),
    }
