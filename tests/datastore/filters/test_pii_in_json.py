"""Personal data in tool calls, tool results, definitions and unused columns."""

import json
import re
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.personal import LOOSE, PATTERNS, spans
from tuneforge_datastore.personal_json import redact_json, redact_text, texts

MAIL, CARD, PHONE = "jane.doe@mail.co.uk", "4111 1111 1111 1111", "+44 20 7946 0958"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc"
CALL = {"name": "send", "arguments": {"to": [MAIL, "x"], "card": 4111111111111111, "n": 3}}
TURNS = [
    {"role": "user", "content": "Send it."},
    {"role": "assistant", "content": "", "tool_calls": [{"function": CALL, "id": "c1"}]},
    {"role": "tool", "content": json.dumps({"phone": PHONE, "key": PEM, "ok": True})},
    {"role": "assistant", "content": "Sent."},
]
TOOLS = [{"type": "function", "function": {"name": "send", "description": f"As {MAIL} does."}}]
ROW = {"messages": TURNS, "tools": TOOLS, "author": {"mail": MAIL, MAIL: "key"}, "stars": 4}
PLAIN = {"messages": [TURNS[0], TURNS[3]], "author": None, "stars": 5}


def curate(bench: Any, **keys: Any) -> dict[str, Any]:
    source = bench.source("s", [ROW, PLAIN])
    bench.curate({"s": source}, filters=[{"kind": "pii", **keys}])
    rows = pq.read_table(bench.folder / "dataset" / "ledger.parquet").to_pylist()
    return {row["id"]: row for row in rows}


def test_all_of_a_record_is_redacted_and_stays_json(bench: Any) -> None:
    told = curate(bench, action="redact")["s:0"]
    assert told["reason"] == "redacted: 4 email, 1 card, 1 phone, 1 key"
    first, second = bench.kept()
    (call,) = json.loads(first["messages"][1]["tool_calls"])
    assert call["function"]["arguments"] == {"to": ["[EMAIL]", "x"], "card": "[CARD]", "n": 3}
    assert call["id"] == "c1"
    result = json.loads(first["messages"][2]["content"])
    assert result == {"phone": "[PHONE]", "key": "[KEY]", "ok": True}
    assert json.loads(first["tools"])[0]["function"]["description"] == "As [EMAIL] does."
    meta = json.loads(first["meta"])
    assert meta == {"author": {"mail": "[EMAIL]", "[EMAIL]": "key"}, "stars": 4}
    assert json.loads(second["meta"])["stars"] == 5
    changes = pq.read_table(bench.folder / "dataset" / "changes.parquet").to_pylist()
    fields = ["messages[1].tool_calls", "messages[2].content", "tools", "meta"]
    assert [change["field"] for change in changes] == fields
    assert json.loads(changes[3]["before"])["author"]["mail"] == MAIL


@pytest.mark.parametrize(
    ("of", "find", "reason"),
    [
        ("record", ["card", "email"], "card found in messages[1].tool_calls"),
        ("completion", ["email"], "email found in messages[1].tool_calls"),
        ("prompt", ["phone"], "phone found"),
        ("whole", ["key"], "key found"),
    ],
)
def test_a_find_says_where(bench: Any, of: str, find: list[str], reason: str) -> None:
    told = curate(bench, of=of, find=find)["s:0"]
    assert (told["verdict"], told["reason"]) == ("dropped", reason)


def test_parts_leave_the_others_alone(bench: Any) -> None:
    assert curate(bench, of="prompt", find=["email"])["s:0"]["verdict"] == "kept"
    curate(bench, of="whole", action="redact")
    first = bench.kept()[0]
    assert MAIL in first["tools"]
    assert MAIL in first["meta"]
    assert MAIL not in first["messages"][1]["tool_calls"]


def test_unused_columns_stay_where_only_cleaning_changed_a_row(bench: Any) -> None:
    rows = [
        {"prompt": "p", "completion": "tidy  \n\n", "note": "as it was"},
        {"prompt": "q", "completion": "tidy  \n\n", "note": MAIL},
        {"prompt": "r", "completion": "tidy", "note": "as it was"},
    ]
    bench.curate(
        {"s": bench.source("s", rows)}, clean={}, filters=[{"kind": "pii", "action": "redact"}],
        select=[{"kind": "cap", "by": "note", "max": 2}],
    )  # fmt: skip
    notes = [json.loads(row["meta"])["note"] for row in bench.kept()]
    assert notes == ["as it was", "[EMAIL]", "as it was"]
    assert {row["completion"] for row in bench.kept()} == {"tidy"}
    bench.curate({"s": bench.source("s", rows)}, clean={})
    assert [json.loads(row["meta"])["note"] for row in bench.kept()] == [
        row["note"] for row in rows
    ]


def test_keys_that_become_equal_lose_no_value() -> None:
    after, counts = redact_json(json.dumps({"a@b.co": 1, "c@d.co": 2}), ["email"])
    assert (json.loads(after), counts) == ({"[EMAIL]": 1, "[EMAIL] 2": 2}, {"email": 2})


PIECES = st.sampled_from([MAIL, CARD, PHONE, "ghp_" + "a1" * 18, PEM, "\n", '"', "\\", "é", "1 "])
TEXTS = st.lists(PIECES, max_size=4).map("".join)
VALUES = st.recursive(
    TEXTS | st.integers(0, 10**17) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(one) for one in value.values()]
    return [shape(one) for one in value] if isinstance(value, list) else None


@given(VALUES)
def test_redacted_json_has_the_shape_it_had_and_holds_nothing(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False)
    after, counts = redact_json(written, list(PATTERNS))
    assert shape(json.loads(after)) == shape(value)
    assert not any(
        list(spans(text, kind)) for text in texts(json.loads(after)) for kind in PATTERNS
    )
    assert (after == written) == (not counts)
    # What is looked for in the written form misses no find of the values.
    for kind in PATTERNS:
        if any(list(spans(text, kind)) for text in texts(value)):
            assert re.search(LOOSE[kind], written, re.ASCII)


@given(VALUES)
def test_a_text_that_is_json_stays_json(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False)
    after, _ = redact_text(written, list(PATTERNS))
    if isinstance(value, dict | list):
        json.loads(after)
