"""Each format's rows become the records they mean."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_datastore.columns import Batch
from tuneforge_datastore.ingest.formats import FORMATS, load
from tuneforge_datastore.records import Message, content_hash
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.sources import SourceBase


def one(bench: Any, row: dict[str, Any], **keys: Any) -> dict[str, Any]:
    bench.file("rows.jsonl", [row])
    (found,) = bench.records(**keys)
    return found  # type: ignore[no-any-return]


def said(turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


TALK = [("user", "Hi"), ("assistant", "Hello")]
PROMPT = [{"role": "user", "content": "Hi"}]
ANSWER = {"role": "assistant", "content": "Hello"}
HH = "\n\nHuman: Hi\n\nAssistant: "


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": "", "output": "Hello"},
        {"instruction": "", "input": "Hi", "output": "Hello"},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": "Hi", "response": "Hello"},
        {"question": "Hi", "answer": "Hello"},
        {"input": "Hi", "output": "Hello"},
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": "Hello"},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {
            "conversation": [
                {"role": "user", "content": "Hi"},
                {"role": "model", "content": "Hello"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
            ]
        },
        {"messages": json.dumps([*PROMPT, ANSWER])},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "H"}, {"text": "i"}]},
                {"role": "assistant", "content": "Hello", "tool_calls": None},
            ]
        },
    ],
)
def test_one_exchange_in_every_dialect(bench: Any, row: dict[str, Any]) -> None:
    found = one(bench, row)
    assert found["kind"] == "instruction"
    assert said(found["messages"]) == TALK
    assert (found["prompt"], found["completion"], found["system"]) == ("Hi", "Hello", "")
    assert (found["meta"], found["tools"], found["chosen"], found["label"]) == ("{}", "", [], None)


def test_system_history_and_unused_columns(bench: Any) -> None:
    found = one(
        bench,
        {
            "system": "Be brief.",
            "history": [["One?", "1"]],
            "instruction": "Two?",
            "input": "please",
            "output": 2,
            "topic": {"name": "numbers"},
        },
    )
    assert said(found["messages"]) == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "Two?\nplease"),
        ("assistant", "2"),
    ]
    assert found["system"] == "Be brief."
    assert found["prompt"] == "One?\nTwo?\nplease"
    assert json.loads(found["meta"]) == {"topic": {"name": "numbers"}}


def test_tool_calls_and_results_in_both_dialects(bench: Any) -> None:
    tools = [{"name": "add", "parameters": {"type": "object"}}]
    sharegpt = one(
        bench,
        {
            "conversations": [
                {"from": "human", "value": "1+2?"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "3"},
                {"from": "gpt", "value": "It is 3."},
            ],
            "tools": json.dumps(tools),
        },
    )
    call = {"name": "add", "arguments": '{"a": 1}'}
    openai = one(
        bench,
        {
            "messages": [
                {"role": "user", "content": "1+2?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": call}],
                    "weight": 0,
                },
                {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "add"},
                {"role": "assistant", "content": "It is 3.", "weight": 1},
            ],
            "tools": tools,
        },
    )
    for found in (sharegpt, openai):
        assert json.loads(found["tools"]) == tools
        assert [turn["role"] for turn in found["messages"]] == [
            *("user", "assistant", "tool", "assistant")
        ]
        (made,) = json.loads(found["messages"][1]["tool_calls"])
        assert made["function"] == {"name": "add", "arguments": {"a": 1}}
        assert found["messages"][1]["content"] == ""
    assert json.loads(openai["messages"][1]["tool_calls"])[0]["id"] == "c1"
    assert [turn["weight"] for turn in openai["messages"]] == [1.0, 0.0, 1.0, 1.0]
    assert (openai["messages"][2]["tool_call_id"], openai["messages"][2]["name"]) == ("c1", "add")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
        {"question": "Hi", "chosen": "Hello", "rejected": "Go away"},
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "Go away"},
        },
        {
            "chosen": [*PROMPT, ANSWER],
            "rejected": [*PROMPT, {"role": "assistant", "content": "Go away"}],
        },
        {
            "prompt": "Hi",
            "chosen": [*PROMPT, ANSWER],
            "rejected": [*PROMPT, {"role": "assistant", "content": "Go away"}],
        },
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Go away",
        },
    ],
)
def test_preferences_in_every_style(bench: Any, row: dict[str, Any]) -> None:
    found = one(bench, row)
    assert found["kind"] == "preference"
    assert said(found["messages"]) == [("user", "Hi")]
    assert said(found["chosen"]) == [("assistant", "Hello")]
    assert said(found["rejected"]) == [("assistant", "Go away")]
    assert (found["prompt"], found["completion"]) == ("Hi", "Hello")


def test_hh_turns_both_answers_share_are_the_prompt(bench: Any) -> None:
    shared = "\n\nHuman: One?\n\nAssistant: 1\n\nHuman: Two?\n\nAssistant:"
    found = one(bench, {"chosen": f"{shared} 2", "rejected": f"{shared} 3\n\nor 4"}, format="hh")
    assert said(found["messages"]) == [("user", "One?"), ("assistant", "1"), ("user", "Two?")]
    assert said(found["rejected"]) == [("assistant", "3\n\nor 4")]


@pytest.mark.parametrize("label", [True, "true", 1, "1", "True"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "Hello"},
        {"messages": [*PROMPT, ANSWER]},
        {"conversations": [*PROMPT, ANSWER]},
    ],
)
def test_unpaired(bench: Any, row: dict[str, Any], label: Any) -> None:
    keys = {} if isinstance(label, bool) else {"format": "unpaired"}
    found = one(bench, {**row, "label": label}, **keys)
    assert (found["kind"], found["label"], found["meta"]) == ("unpaired", True, "{}")
    assert said(found["messages"]) == TALK


def test_text(bench: Any) -> None:
    found = one(bench, {"text": "Once upon a time", "url": "https://example.org"})
    assert (found["kind"], found["text"], found["messages"]) == ("text", "Once upon a time", [])
    assert json.loads(found["meta"]) == {"url": "https://example.org"}


@pytest.mark.parametrize(
    ("columns", "row", "kind"),
    [
        ({"prompt": "q", "completion": "a"}, {"q": "Hi", "a": "Hello"}, "instruction"),
        (
            {"messages": "m"},
            {"m": [*PROMPT, ANSWER]},
            "instruction",
        ),
        ({"text": "body"}, {"body": "Hello"}, "text"),
        (
            {"prompt": "q", "chosen": "good", "rejected": "bad"},
            {"q": "Hi", "good": "Hello", "bad": "No"},
            "preference",
        ),
        (
            {"prompt": "q", "completion": "a", "label": "ok"},
            {"q": "Hi", "a": "Hello", "ok": "false"},
            "unpaired",
        ),
    ],
)
def test_custom_columns(
    bench: Any, columns: dict[str, str], row: dict[str, Any], kind: str
) -> None:
    found = one(bench, {**row, "more": 1}, columns=columns)
    assert (found["kind"], found["completion"]) == (kind, "Hello")
    assert json.loads(found["meta"]) == {"more": 1}
    assert found["label"] == (False if kind == "unpaired" else None)


def test_custom_system_tools_and_id(bench: Any) -> None:
    columns = {"prompt": "q", "completion": "a", "system": "s", "tools": "t", "id": "key"}
    row = {"q": "Hi", "a": "Hello", "s": "Be kind.", "t": [{"name": "f"}], "key": 7}
    found = one(bench, row, columns=columns)
    assert (found["id"], found["system"]) == ("src:7", "Be kind.")
    assert json.loads(found["tools"]) == [{"name": "f"}]
    bench.file("rows.jsonl", [row, row])
    with pytest.raises(DataError, match="'src:7' 2 times"):
        bench.records(columns=columns)


def test_columns_that_make_no_record_or_two(bench: Any) -> None:
    bench.file("rows.jsonl", [{"q": "Hi", "a": "Hello"}])
    with pytest.raises(UsageError, match="no record"):
        bench.records(columns={"prompt": "q"})
    with pytest.raises(UsageError, match="and also"):
        bench.records(columns={"prompt": "q", "completion": "a", "text": "a"})


def test_a_missing_custom_column_names_those_there_are(bench: Any) -> None:
    bench.file("rows.jsonl", [{"question": "Hi", "answer": "Hello"}])
    with pytest.raises(DataError) as caught:
        bench.records(columns={"prompt": "questions", "completion": "answer"})
    assert "'questions' (columns.prompt) is missing; the columns are answer, question" in str(
        caught.value
    )
    assert caught.value.fix == "did you mean prompt = 'question'?"


@pytest.mark.parametrize(
    ("form", "row", "reason"),
    [
        ("alpaca", {"instruction": "x"}, "column 'output' is missing (columns: instruction)"),
        ("alpaca", {"instruction": "x", "output": "y", "history": ["z"]}, "history must be"),
        ("messages", {"messages": []}, "messages is empty"),
        ("messages", {"messages": "nonsense"}, "messages holds broken JSON"),
        ("messages", {"messages": 3}, "must be a list of messages"),
        ("messages", {"messages": ["x"]}, "a message must be an object"),
        ("messages", {"messages": [{"role": "alien", "content": "x"}]}, "unknown role 'alien'"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "content part of type 'image_url'",
        ),
        ("messages", {"messages": [{"role": "user", "content": "x", "weight": "w"}]}, "weight"),
        ("messages", {"messages": [PROMPT[0]], "tools": '{"a"'}, "tools holds broken JSON"),
        ("messages", {"messages": [PROMPT[0]], "tools": '{"a": 1}'}, "must be a list of tool"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "f("}]}, "broken JSON"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "{}"}]}, "needs a name"),
        ("sharegpt", {"messages": []}, "column 'conversations' is missing"),
        ("completion", {"prompt": "x"}, "column 'completion' is missing"),
        (
            "completion",
            {"prompt": "x", "completion": "y", "question": "z", "answer": "w"},
            "prompt/completion or question/answer",
        ),
        ("preference", {"prompt": "x", "chosen": "y"}, "column 'rejected' is missing"),
        ("preference", {"chosen": "x", "rejected": "y"}, "no prompt in common"),
        (
            "preference",
            {"prompt": "x", "chosen": PROMPT, "rejected": "y"},
            "begin with an assistant",
        ),
        ("unpaired", {"prompt": "x", "completion": "y"}, "column 'label' is missing"),
        ("unpaired", {"prompt": "x", "completion": "y", "label": "maybe"}, "true or false"),
        ("text", {"body": "x"}, "column 'text' is missing (columns: body)"),
        ("hh", {"chosen": "Hello", "rejected": "x"}, "no transcript"),
    ],
)
def test_a_row_that_does_not_fit_names_the_line(
    bench: Any, form: str, row: dict[str, Any], reason: str
) -> None:
    bench.file("rows.jsonl", [row])
    with pytest.raises(DataError) as caught:
        bench.records(format=form)
    assert caught.value.message.startswith(f"rows.jsonl:1: as {form}: ")
    assert reason in caught.value.message
    assert "on_error" in caught.value.fix


def test_the_registry_holds_the_formats_of_the_spec() -> None:
    declared = SourceBase.model_fields["format"].annotation.__args__  # type: ignore[union-attr]
    assert set(FORMATS) == set(declared) - {"auto"}
    assert [load(name).name for name in FORMATS] == list(FORMATS)


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ROLES = st.sampled_from(["user", "assistant", "tool"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(ROLES, TEXT), min_size=1, max_size=5), TEXT, TEXT)
def test_any_conversation_survives_the_way_to_arrow_and_back(
    turns: list[tuple[str, str]], system: str, note: str
) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    row = {"messages": messages, "system": system, "note": note}
    record = load("messages").convert(row)
    batch = Batch("s")
    batch.append(record, "s:0", "f", 1)
    (back,) = batch.arrow().to_pylist()
    expected = ([("system", system)] if system else []) + turns
    assert said(back["messages"]) == expected
    assert json.loads(back["meta"]) == {"note": note}
    answers = [content for role, content in turns if role == "assistant"]
    assert back["completion"] == (answers[-1] if answers else "")


def test_the_hash_is_of_what_is_said() -> None:
    def digest(*turns: Message, **more: Any) -> str:
        record = load("messages").convert({"messages": [turn._asdict() for turn in turns]})
        for name, value in more.items():
            setattr(record, name, value)
        return content_hash(record)

    one_way = digest(Message("user", "a b"), Message("assistant", "c"))
    assert one_way == digest(Message("user", " a \n b "), Message("assistant", "c"))
    assert digest(Message("user", "caf\u00e9")) == digest(Message("user", "cafe\u0301"))
    others = [
        digest(Message("user", "a"), Message("assistant", "b c")),
        digest(Message("user", "a b c")),
        digest(Message("assistant", "a b"), Message("user", "c")),
        digest(Message("user", "A b"), Message("assistant", "c")),
        digest(Message("user", "a b"), Message("assistant", "c"), tools='[{"name": "f"}]'),
        digest(Message("user", "a b"), Message("assistant", "c"), label=True),
        digest(Message("user", "a b"), Message("assistant", "c"), label=False),
    ]
    assert len({one_way, *others}) == len(others) + 1
