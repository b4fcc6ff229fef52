"""Snapshots: what each form holds, that it reads back as the same records, and equal bytes."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.answers import FORMULA
from tuneforge_datastore.snapshot import Form, guarded, write_snapshot

CALL = {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
ROWS: dict[str, list[dict[str, Any]]] = {
    "instruction": [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "1+1?", "name": "ann"},
                {"role": "assistant", "content": "", "tool_calls": [CALL], "weight": 0},
                {"role": "tool", "content": "2", "tool_call_id": "c1"},
                {"role": "assistant", "content": "2"},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "topic": "sums",
        },
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ],
    "preference": [
        {"prompt": f"p{n}", "chosen": f"good, {n}", "rejected": "bad\nlines"} for n in range(9)
    ],
    "unpaired": [{"prompt": f"p{n}", "completion": "x", "label": n % 2 == 0} for n in range(4)],
    "text": [{"text": f"some text {n}", "lang": "en"} for n in range(4)],
}


def snapshot(bench: Any, kind: str, form: Form, out: str = "out", share: float = 0.0) -> Path:
    source = bench.source(kind, ROWS[kind])
    bench.curate({kind: source}, split={"eval": share, "by": "record"})
    folder: Path = bench.folder / out
    folder.mkdir()
    write_snapshot(bench.folder / "dataset", folder, form)
    return folder


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("kind", ROWS)
def test_what_was_written_reads_back_as_the_same_records(bench: Any, kind: str, form: Form) -> None:
    folder = snapshot(bench, kind, form)
    again = bench.records(str(folder / f"train.{form}"), "again")
    kept = bench.kept()
    assert [row["content_hash"] for row in again] == [row["content_hash"] for row in kept]
    for turns in ("messages", "chosen", "rejected"):
        assert [row[turns] for row in again] == [row[turns] for row in kept]
    assert [row["kind"] for row in again] == [kind] * len(kept)


@pytest.mark.parametrize("kind", ["preference", "unpaired", "text"])
def test_csv_of_one_exchange_reads_back_too(bench: Any, kind: str) -> None:
    folder = snapshot(bench, kind, "csv")
    again = bench.records(str(folder / "train.csv"), "again")
    assert [row["content_hash"] for row in again] == [row["content_hash"] for row in bench.kept()]


def test_each_side_has_its_file(bench: Any) -> None:
    folder = snapshot(bench, "preference", "jsonl", share=0.4)
    for side in ("train", "eval"):
        ids = [json.loads(line)["id"] for line in (folder / f"{side}.jsonl").open()]
        assert ids == [row["id"] for row in bench.kept() if row["split"] == side] != []
    assert sorted(file.name for file in snapshot(bench, "text", "csv", "two").iterdir()) == [
        "train.csv"
    ]


def test_json_lines_are_as_other_programs_want_them(bench: Any) -> None:
    first = json.loads((snapshot(bench, "instruction", "jsonl") / "train.jsonl").open().readline())
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert first["messages"][1] == {"role": "user", "content": "1+1?", "name": "ann"}
    assert first["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert first["messages"][2]["weight"] == 0.0
    assert first["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert first["meta"] == {"topic": "sums"}


@pytest.mark.parametrize("form", get_args(Form))
def test_equal_datasets_give_equal_bytes(bench: Any, form: Form) -> None:
    digests = set()
    for out in ("one", "two"):
        folder = snapshot(bench, "preference", form, out, share=0.4)
        digests.add(
            tuple(hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir()))
        )
    assert len(digests) == 1


def test_a_snapshot_of_two_kinds_says_which(bench: Any) -> None:
    sources = {kind: bench.source(kind, ROWS[kind]) for kind in ("instruction", "text")}
    bench.curate(sources)
    (bench.folder / "out").mkdir()
    made = write_snapshot(bench.folder / "dataset", bench.folder / "out", "parquet")
    table = pq.read_table(bench.folder / "out" / "train.parquet")
    assert made.kinds == ["instruction", "text"]
    assert table.column("kind").to_pylist() == ["instruction"] * 2 + ["text"] * 4


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_is_a_formula(bench: Any, cell: str) -> None:
    source = bench.source("a", [{"prompt": cell, "completion": "sound", "note": cell}])
    bench.curate({"a": source})
    (bench.folder / "out").mkdir()
    write_snapshot(bench.folder / "dataset", bench.folder / "out", "csv")
    text = (bench.folder / "out" / "train.csv").read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["prompt"] == f"'{cell}"
    assert row["completion"] == "sound"
    assert not any(value.startswith(FORMULA) for value in row.values())


@given(st.text())
def test_guarding_loses_nothing(text: str) -> None:
    shown = guarded(text)
    assert not shown.startswith(FORMULA)
    assert shown.removeprefix("'") == text or shown == text
