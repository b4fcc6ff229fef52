"""OpenAI's preference fine-tuning files."""

import json
from typing import Any

import pytest
from tuneforge_specs.errors import DataError

# The example of OpenAI's guide, with a tool beside it.
ROW: dict[str, Any] = {
    "input": {
        "messages": [{"role": "user", "content": "Hello, can you tell me how cold SF is today?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        "parallel_tool_calls": True,
    },
    "preferred_output": [{"role": "assistant", "content": "Today it is 10 degrees."}],
    "non_preferred_output": [{"role": "assistant", "content": "It is not cold, I believe."}],
    "origin": "guide",
}


def test_a_row_is_a_pair_with_its_tools(bench: Any) -> None:
    bench.file("rows.jsonl", [ROW])
    (record,) = bench.records()
    assert record["kind"] == "preference"
    assert [turn["role"] for turn in record["messages"]] == ["user"]
    assert record["chosen"][0]["content"] == "Today it is 10 degrees."
    assert record["rejected"][0]["content"] == "It is not cold, I believe."
    assert json.loads(record["tools"])[0]["function"]["name"] == "weather"
    assert json.loads(record["meta"]) == {"parallel_tool_calls": True, "origin": "guide"}


def test_answers_may_be_tool_calls_and_prompts_several_turns(bench: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "How cold is it?"},
    ]
    calling = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    bench.file("rows.jsonl", [{**ROW, "input": {"messages": turns}, "preferred_output": calling}])
    (record,) = bench.records()
    assert (record["system"], len(record["messages"]), record["tools"]) == ("Be brief.", 4, "")
    assert json.loads(record["chosen"][0]["tool_calls"])[0]["function"]["name"] == "weather"
    # As KTO trains on: two judged answers.
    assert [row["label"] for row in bench.records(pairs="unpaired")] == [True, False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": "not json"}, "input holds broken JSON"),
        ({"input": {"prompt": "x"}}, "input must be an object with messages"),
        ({"preferred_output": []}, "preferred_output is empty"),
        ({"non_preferred_output": [{"role": "user", "content": "x"}]}, "rejected must begin with"),
        ({"non_preferred_output": [{"role": "ghost", "content": "x"}]}, "unknown role 'ghost'"),
    ],
)
def test_what_is_no_pair(bench: Any, change: dict[str, Any], reason: str) -> None:
    bench.file("rows.jsonl", [ROW, {**ROW, **change}])
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: as openai-preference: .*{reason}"):
        bench.ingest()
