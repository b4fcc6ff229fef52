"""Builds from data nobody here wrote, with few steps: what goes in is what is trained on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.train]

ARGS = "args = { max_steps = 2, micro_batch = 2, gradient_checkpointing = false }"
Make = Callable[[str], Any]


def spec(source: str, *, corpus: str = "", rest: str = "") -> str:
    return f"""
spec = 1
[build]
name = "real"
[sources.data]
{source}
[sources.corpus]
path = '{corpus}'
format = "text"
[datasets.d]
from = [{{ source = "data" }}]
split = {{ eval = 0.1 }}
template = {{ chat = "chatml", max_tokens = 1024, overflow = "truncate" }}
[base]
#TINY
corpus = ["corpus"]
{rest}
"""


def sft(rest: str = "") -> str:
    return f"""
[train.t]
method = "sft"
dataset = "d"
adapter = {{ kind = "lora", r = 4 }}
{ARGS}
{rest}
"""


def text_of(built: Any, ids: list[int]) -> str:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(built.artifact("base") / "model" / "tokenizer.json"))
    return tokenizer.decode(ids, skip_special_tokens=False)


def supervised(built: Any, row: dict) -> str:
    ids = [i for i, trained in zip(row["input_ids"], row["loss_mask"], strict=True) if trained]
    return text_of(built, ids)


def test_alpaca_goes_all_the_way_to_gguf(project: Make, shared_data: Path) -> None:
    file = shared_data / "alpaca_en_demo.json"
    built = project(
        spec(
            f"path = '{file}'\nlimit = 300",
            corpus=str(shared_data / "wiki_demo.txt"),
            rest=sft(
                """
[merge.m]
method = "lora"
inputs = [{ train = "t" }]
[evaluate.e]
model = "m"
dataset = "d"
metrics = ["loss", "exact-match"]
rows = 4
max_new_tokens = 4
gate = ["loss < 100"]
[export.g]
model = "m"
format = "gguf"
types = ["f16"]
"""
            ),
        )
    )
    built.run("build")
    records = built.rows("source.data", "records.parquet")
    raw = json.loads(file.read_text())[:300]
    assert [record["completion"] for record in records] == [row["output"] for row in raw]
    row = next(r for r in built.rows("render.d", "train.parquet") if r["verdict"] == "whole")
    record = next(r for r in records if r["id"] == row["record_id"])
    assert supervised(built, row).replace("<|im_end|>", "").strip() == record["completion"].strip()
    assert list((built.workspace / "exports" / "g").glob("*.gguf"))
    assert "nothing to do" in built.run("build")


def test_sharegpt_preferences_train_with_dpo(project: Make, shared_data: Path) -> None:
    file = shared_data / "dpo_en_demo.json"
    dpo = f'[train.t]\nmethod = "dpo"\ndataset = "d"\nadapter = {{ kind = "lora", r = 4 }}\n{ARGS}'
    built = project(spec(f"path = '{file}'", corpus=str(shared_data / "wiki_demo.txt"), rest=dpo))
    built.run("build")
    raw = json.loads(file.read_text())
    records = built.rows("source.data", "records.parquet")
    assert len(records) == len(raw)
    assert {record["kind"] for record in records} == {"preference"}
    assert records[7]["rejected"][-1]["content"] == raw[7]["rejected"]["value"]
    assert (built.artifact("train.t") / "adapter" / "adapter_model.safetensors").is_file()


def test_messages_with_a_label_are_unpaired_preferences(project: Make, shared_data: Path) -> None:
    file = shared_data / "kto_en_demo.json"
    built = project(spec(f"path = '{file}'", corpus=str(shared_data / "wiki_demo.txt")))
    built.run("build", "--only", "dataset.d")
    records = built.rows("source.data", "records.parquet")
    raw = json.loads(file.read_text())
    assert {record["kind"] for record in records} == {"unpaired"}
    assert [record["label"] for record in records] == [row["label"] for row in raw]


def test_tool_calls_survive_rendering(project: Make, shared_data: Path) -> None:
    file = shared_data / "glaive_toolcall_en_demo.json"
    built = project(
        spec(f"path = '{file}'\nlimit = 60", corpus=str(shared_data / "wiki_demo.txt"), rest=sft())
    )
    built.run("build")
    records = {r["id"]: r for r in built.rows("source.data", "records.parquet")}
    called = answered = 0
    for row in built.rows("render.d", "train.parquet"):
        if row["verdict"] != "whole":
            continue
        trained, whole = supervised(built, row), text_of(built, row["input_ids"])
        for turn in records[row["record_id"]]["messages"]:
            for call in json.loads(turn["tool_calls"] or "[]"):
                assert call["function"]["name"] in trained
                called += 1
            if turn["role"] == "tool":
                assert turn["content"] in whole
                assert turn["content"] not in trained
                answered += 1
    assert called
    assert answered


def test_plain_text_trains_every_weight(project: Make, shared_data: Path) -> None:
    file = shared_data / "wiki_demo.txt"
    rest = f"""
[train.t]
method = "sft"
dataset = "d"
adapter = {{ kind = "full" }}
{ARGS}
"""
    built = project(spec(f"path = '{file}'\nformat = \"text\"", corpus=str(file), rest=rest))
    built.run("build")
    rows = built.rows("render.d", "train.parquet")
    assert all(row["n_supervised"] >= row["n_tokens"] - 1 for row in rows)
    assert (built.artifact("train.t") / "model" / "model.safetensors").is_file()
