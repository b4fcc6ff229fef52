"""Recognising a format: what it says, and when it refuses to guess."""

import json
from typing import Any

import pytest
from tuneforge_specs.errors import DataError


def understood(bench: Any, rows: list[Any], **keys: Any) -> tuple[str, str]:
    bench.file("rows.jsonl", rows)
    told = json.loads((bench.ingest(**keys) / "source.json").read_text())
    (file,) = told["files"]
    return file["format"], file["why"]


TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("row", "form", "why"),
    [
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", "instruction, input, output"),
        ({"conversations": TURNS}, "sharegpt", "turns in column conversations"),
        ({"messages": TURNS}, "messages", "turns in column messages"),
        ({"question": "a", "answer": "b"}, "completion", "columns question, answer"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", "prompt, chosen, rejected"),
        (
            {
                "input": {"messages": TURNS[:1]},
                "preferred_output": TURNS[1:],
                "non_preferred_output": TURNS[1:],
            },
            "openai-preference",
            "columns input, preferred_output, non_preferred_output",
        ),
        ({"messages": TURNS, "label": True}, "unpaired", "true or false in label"),
        ({"messages": TURNS, "label": 4}, "messages", "turns in column messages"),
        ({"text": "a", "id": 3}, "text", "column text"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "Human: a\n\nAssistant: c"},
            "hh",
            "transcripts",
        ),
    ],
)
def test_auto_says_what_it_recognised_and_why(
    bench: Any, row: dict[str, Any], form: str, why: str
) -> None:
    found, reason = understood(bench, [row])
    assert found == form
    assert why in reason


@pytest.mark.parametrize(
    ("row", "both"),
    [
        ({"instruction": "a", "output": "b", "text": "ab"}, ("alpaca", "text")),
        ({"prompt": "a", "completion": "b", "messages": TURNS}, ("messages", "completion")),
        ({"conversations": TURNS, "messages": TURNS}, ("sharegpt", "messages")),
    ],
)
def test_auto_refuses_to_guess_between_two(bench: Any, row: Any, both: tuple[str, str]) -> None:
    bench.file("rows.jsonl", [row])
    with pytest.raises(DataError) as caught:
        bench.ingest()
    assert all(f"{name} (" in caught.value.message for name in both)
    assert caught.value.fix == f'choose one: format = "{both[0]}" or format = "{both[1]}"'
    assert understood(bench, [row], format=both[0])[0] == both[0]


def test_auto_fits_nothing(bench: Any) -> None:
    bench.file("rows.jsonl", [{"promt": "a", "target": "b"}])
    with pytest.raises(DataError) as caught:
        bench.ingest()
    assert "no format fits the columns promt, target" in caught.value.message
    assert "is 'promt' the prompt?" in caught.value.fix


def test_each_file_of_a_folder_is_recognised_by_itself(bench: Any) -> None:
    bench.file("mixed/a.jsonl", [{"instruction": "a", "output": "b"}])
    bench.file("mixed/b.csv", "prompt,completion\nc,d\n")
    bench.file("mixed/c.json", json.dumps([{"messages": TURNS}]))
    found = bench.records("mixed")
    assert [(row["prompt"], row["completion"]) for row in found] == [
        ("a", "b"),
        ("c", "d"),
        ("a", "b"),
    ]


def test_columns_override_the_format(bench: Any) -> None:
    row = {"instruction": "a", "output": "b", "summary": "c"}
    columns = {"prompt": "output", "completion": "summary"}
    assert understood(bench, [row], format="alpaca", columns=columns) == (
        "columns",
        "columns prompt = output, completion = summary",
    )
