"""Rendered text, ids and masks equal transformers' own, for every shipped template."""

from typing import Any

import pytest
from tuneforge_datastore.render.rows import instruction_rows
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_datastore.templates.conversation import conversation

pytestmark = pytest.mark.train

WITH_TOOLS = ("chatml", "qwen", "llama3", "mistral")


@pytest.fixture(scope="module", params=["bos", "no bos"])
def folder(request, model, model_without_bos):
    return model if request.param == "bos" else model_without_bos


@pytest.fixture(scope="module")
def theirs(folder) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def compare(record: dict[str, Any], made, theirs) -> None:
    source = made.fitted.template.source
    talk = conversation(record, record["messages"])
    text = theirs.apply_chat_template(
        talk.messages, tools=talk.tools, chat_template=source, tokenize=False
    )
    assert made.fitted.template.render(talk.messages, talk.tools) == text
    output = theirs.apply_chat_template(
        talk.messages,
        tools=talk.tools,
        chat_template=source,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    (row,) = instruction_rows([{**record, "split": "eval"}], made)
    assert row.ids == output["input_ids"]
    assert list(row.mask) == output["assistant_masks"]
    said = max(i for i, m in enumerate(talk.messages) if m["role"] == "assistant")
    prompt = theirs.apply_chat_template(
        talk.messages[:said],
        tools=talk.tools,
        chat_template=source,
        add_generation_prompt=True,
        return_dict=True,
    )
    assert row.prompt_ids == prompt["input_ids"]


@pytest.mark.parametrize("chat", SHIPPED)
def test_conversations(chat: str, rules, folder, theirs, conversations) -> None:
    made = rules(chat, folder)
    for record in conversations.values():
        compare(record, made, theirs)


@pytest.mark.parametrize("chat", WITH_TOOLS)
def test_tools(chat: str, rules, folder, theirs, tool_conversations) -> None:
    made = rules(chat, folder)
    for record in tool_conversations.values():
        compare(record, made, theirs)


def test_real_tool_conversations(rules, model, shared_data, make_record, make_turn) -> None:
    """Function calls and their results survive: the text equals transformers' and holds them."""
    import json

    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(model)
    rows = json.loads((shared_data / "glaive_toolcall_en_demo.json").read_text(encoding="utf-8"))
    roles = {"human": "user", "gpt": "assistant", "observation": "tool"}
    made = {chat: rules(chat, max_tokens=100_000) for chat in WITH_TOOLS}
    calls = 0
    for row in rows[:60]:
        turns = []
        for part in row["conversations"]:
            if part["from"] == "function_call":
                call = json.loads(part["value"])
                turns.append(make_turn("assistant", tool_calls=json.dumps([call])))
                calls += 1
            else:
                turns.append(make_turn(roles[part["from"]], part["value"]))
        record = make_record(turns, tools=row["tools"])
        for rule in made.values():
            compare(record, rule, theirs)
            talk = conversation(record, turns)
            text = rule.fitted.template.render(talk.messages, talk.tools)
            for message in talk.messages:
                assert message["content"].strip() in text or json.dumps(message["content"]) in text
                for call in message.get("tool_calls", []):
                    assert json.dumps(call["function"]["arguments"], ensure_ascii=False) in text
    assert calls > 20
