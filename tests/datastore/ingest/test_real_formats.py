"""Real files of every format, as others wrote them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import DataError

EXPECTED = {
    "alpaca_en_demo.json": ("alpaca", {"instruction": 999}),
    "dpo_en_demo.json": ("preference", {"preference": 300}),
    "kto_en_demo.json": ("unpaired", {"unpaired": 300}),
    "glaive_toolcall_en_demo.json": ("sharegpt", {"instruction": 300}),
    "gsm8k_train.jsonl": ("completion", {"instruction": 7473}),
    "gsm8k_test.jsonl": ("completion", {"instruction": 1319}),
    "c4_demo.jsonl": ("text", {"text": 300}),
    "wiki_demo.txt": ("text", {"text": 30}),
    "identity.json": ("alpaca", {"instruction": 91}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_recognised_and_complete(bench: Any, shared_data: Path, name: str) -> None:
    folder = bench.ingest(str(shared_data / name))
    told = json.loads((folder / "source.json").read_text())
    assert (told["files"][0]["format"], told["kinds"]) == EXPECTED[name]
    assert told["rejected"] == 0


def rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    return json.loads(file.read_text())  # type: ignore[no-any-return]


def read(bench: Any, file: Path) -> list[dict[str, Any]]:
    folder = bench.ingest(str(file))
    return pq.read_table(folder / "records.parquet").to_pylist()  # type: ignore[no-any-return]


def test_alpaca_texts_are_those_of_the_file(bench: Any, shared_data: Path) -> None:
    file = shared_data / "alpaca_en_demo.json"
    for row, record in zip(rows_of(file), read(bench, file), strict=True):
        assert record["completion"] == row["output"]
        joined = row["instruction"] + (f"\n{row['input']}" if row["input"] else "")
        assert record["prompt"] == joined
        # The line given is where the object begins.
    text = file.read_text().splitlines()
    assert all(text[record["line"] - 1].strip() == "{" for record in read(bench, file)[:50])


def test_preference_turns_are_those_of_the_file(bench: Any, shared_data: Path) -> None:
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    file = shared_data / "dpo_en_demo.json"
    for row, record in zip(rows_of(file), read(bench, file), strict=True):
        turns = [(turn["role"], turn["content"]) for turn in record["messages"]]
        assert turns == [(roles[turn["from"]], turn["value"]) for turn in row["conversations"]]
        assert [turn["content"] for turn in record["chosen"]] == [row["chosen"]["value"]]
        assert [turn["content"] for turn in record["rejected"]] == [row["rejected"]["value"]]


def test_labels_are_those_of_the_file(bench: Any, shared_data: Path) -> None:
    file = shared_data / "kto_en_demo.json"
    for row, record in zip(rows_of(file), read(bench, file), strict=True):
        assert record["label"] is row["label"]
        turns = [{"role": t["role"], "content": t["content"]} for t in record["messages"]]
        assert turns == row["messages"]


def test_every_function_call_and_tool_survives(bench: Any, shared_data: Path) -> None:
    file = shared_data / "glaive_toolcall_en_demo.json"
    calls = 0
    for row, record in zip(rows_of(file), read(bench, file), strict=True):
        assert json.loads(record["tools"] or "[]") == json.loads(row["tools"])
        for turn, message in zip(row["conversations"], record["messages"], strict=True):
            if turn["from"] != "function_call":
                assert message["content"] == turn["value"]
                continue
            (call,) = json.loads(message["tool_calls"])
            assert call["function"] == json.loads(turn["value"])
            calls += 1
    assert calls == 211


def test_nested_tasks_are_refused_and_then_read_with_sql(bench: Any, shared_data: Path) -> None:
    file = shared_data / "self_instruct_seed_tasks.jsonl"
    with pytest.raises(DataError, match="no format fits the columns id, instances, instruction"):
        bench.ingest(str(file))
    sql = (
        "SELECT instruction, task.input AS input, task.output AS output FROM "
        f"(SELECT instruction, unnest(instances) AS task FROM '{file}')"
    )
    tasks = sum(len(row["instances"]) for row in rows_of(file))
    assert len(bench.records(sql=sql)) == tasks
