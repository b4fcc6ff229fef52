"""Personal data: what is found, and what redaction and tags do with it."""

import re
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.personal import PATTERNS, mod97, redact, spans

IBAN = "DE89 3704 0044 0532 0130 00"
KEY = "ghp_" + "a1" * 18
MAIL = "jane.doe@mail.co.uk"
CARD = "4111 1111 1111 1111"
PHONE = "+44 20 7946 0958"


def run(bench: Any, rows: list[dict[str, Any]], *filters: dict[str, Any], **keys: Any) -> None:
    spare = [{"prompt": "Who?", "completion": "A record that is kept."}]
    sources = {"s": bench.source("s", rows), "spare": bench.source("spare", spare)}
    bench.curate(sources, filters=list(filters), dedup={"exact": False}, **keys)


def ledger(bench: Any) -> dict[str, Any]:
    rows = pq.read_table(bench.folder / "dataset" / "ledger.parquet").to_pylist()
    return {row["id"]: row for row in rows}


def changes(bench: Any) -> list[Any]:
    return pq.read_table(bench.folder / "dataset" / "changes.parquet").to_pylist()


def test_redaction_replaces_and_keeps_the_original(bench: Any) -> None:
    turns = [
        {"role": "system", "content": f"Mail {MAIL}."},
        {"role": "user", "content": f"My card is {CARD}, call {PHONE}!"},
        {"role": "assistant", "content": f"Noted, {MAIL}."},
        {"role": "user", "content": f"Pay to {IBAN} with {KEY}"},
        {"role": "assistant", "content": "Done."},
    ]
    rows = [{"messages": turns}, {"messages": turns[1:2] + turns[4:]}]
    rows.append({"messages": [{"role": "user", "content": "nothing"}, turns[4]]})
    run(bench, rows, {"kind": "pii", "action": "redact"})
    first, second, third, _ = bench.kept()
    assert [turn["content"] for turn in first["messages"]] == [
        "Mail [EMAIL].",
        "My card is [CARD], call [PHONE]!",
        "Noted, [EMAIL].",
        "Pay to [IBAN] with [KEY]",
        "Done.",
    ]
    assert first["system"] == "Mail [EMAIL]."
    assert first["prompt"] == "My card is [CARD], call [PHONE]!\nPay to [IBAN] with [KEY]"
    assert second["prompt"] == "My card is [CARD], call [PHONE]!"
    assert third["prompt"] == "nothing"
    told = changes(bench)
    assert len(told) == 5
    assert told[0] == {
        "id": "s:0",
        "source": "s",
        "field": "messages[0].content",
        "rule": "pii",
        "before": f"Mail {MAIL}.",
        "after": "Mail [EMAIL].",
    }
    row = ledger(bench)["s:0"]
    assert (row["verdict"], row["stage"], row["rule"]) == ("kept", "filters[0]", "pii")
    assert row["reason"] == "redacted: 2 email, 1 card, 1 phone, 1 key, 1 iban"
    assert ledger(bench)["s:2"]["rule"] == ""


def test_filters_behind_see_what_redaction_leaves(bench: Any) -> None:
    rows = [{"prompt": "p", "completion": f"write to {MAIL}"}]
    redaction = {"kind": "pii", "action": "redact"}
    before = {"kind": "sql", "name": "raw", "keep": "completion NOT LIKE '%@%'"}
    run(bench, rows, redaction, before)
    assert bench.dropped() == {}
    run(bench, rows, before, redaction)
    assert bench.dropped()["s:0"]["stage"] == "filters[0]"
    assert changes(bench) == []


def test_redaction_after_cleaning_keeps_both(bench: Any) -> None:
    rows = [
        {"prompt": "p", "completion": "tidy me  \n\n"},
        {"prompt": "p", "completion": f"tidy  \n{MAIL}  "},
        {"prompt": "p", "completion": f"tidy {MAIL}"},
    ]
    run(bench, rows, {"kind": "pii", "action": "redact"}, clean={})
    texts = [row["completion"] for row in bench.kept()]
    assert texts[:3] == ["tidy me", "tidy\n[EMAIL]", "tidy [EMAIL]"]
    assert {(row["id"], row["rule"]) for row in changes(bench)} == {
        ("s:0", "whitespace"),
        ("s:1", "whitespace"),
        ("s:1", "pii"),
        ("s:2", "pii"),
    }


def test_redacted_twins_are_duplicates(bench: Any) -> None:
    rows = [{"prompt": "p", "completion": f"{n}{MAIL}"} for n in "ab"]
    sources = {"s": bench.source("s", rows)}
    bench.curate(sources, filters=[{"kind": "pii", "action": "redact"}])
    assert bench.dropped()["s:1"]["rule"] == "exact-duplicate"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("prompt", ("ask [EMAIL]", f"say {MAIL}")),
        ("completion", (f"ask {MAIL}", "say [EMAIL]")),
        ("whole", ("ask [EMAIL]", "say [EMAIL]")),
    ],
)
def test_the_part_that_is_redacted(bench: Any, of: str, expected: tuple[str, str]) -> None:
    rows = [{"prompt": f"ask {MAIL}", "completion": f"say {MAIL}"}]
    run(bench, rows, {"kind": "pii", "action": "redact", "of": of})
    assert (bench.kept()[0]["prompt"], bench.kept()[0]["completion"]) == expected


def test_preferences_and_texts_are_redacted(bench: Any) -> None:
    pair = {"prompt": "p", "chosen": f"a {MAIL}", "rejected": f"b {PHONE}"}
    bench.curate({"s": bench.source("s", [pair])}, filters=[{"kind": "pii", "action": "redact"}])
    (row,) = bench.kept()
    assert row["chosen"][0]["content"] == row["completion"] == "a [EMAIL]"
    assert row["rejected"][0]["content"] == "b [PHONE]"
    texts = bench.source("t", [{"text": f"see {MAIL}"}])
    bench.curate({"t": texts}, filters=[{"kind": "pii", "action": "redact", "find": ["email"]}])
    assert bench.kept()[0]["text"] == "see [EMAIL]"


def test_tags_leave_the_record_and_add_up(bench: Any) -> None:
    rows = [{"prompt": "p", "completion": f"{MAIL} and {CARD}"}, {"prompt": "q", "completion": "x"}]
    tags = [{"kind": "pii", "action": "tag", "find": [kind]} for kind in ("email", "card")]
    run(bench, rows, *tags)
    row = ledger(bench)["s:0"]
    assert (row["verdict"], row["stage"], row["rule"]) == ("kept", "filters[0]", "pii")
    assert row["reason"] == "email found; card found"
    assert row["evidence"] == "ja…uk; 41…11"
    assert bench.kept()[0]["completion"] == f"{MAIL} and {CARD}"
    # A drop further on is what is told.
    run(bench, rows, *tags, {"kind": "length", "min": 2})
    assert ledger(bench)["s:0"]["verdict"] == "kept"
    assert bench.dropped()["s:1"]["rule"] == "length"
    run(bench, rows[:1], tags[0], {"kind": "length", "max": 2, "of": "prompt"},
        {"kind": "sql", "name": "none", "keep": "source <> 's'"})  # fmt: skip
    assert bench.dropped()["s:0"]["rule"] == "none"


def test_the_funnel_counts_what_is_tagged_and_changed(bench: Any) -> None:
    rows = [{"prompt": "p", "completion": MAIL}, {"prompt": "q", "completion": "x"}]
    actions = [{"kind": "pii", "action": action} for action in ("tag", "redact", "drop")]
    made = bench.curate({"s": bench.source("s", rows)}, filters=actions)
    tagged, changed, dropped = (step for step in made.funnel if step["stage"].startswith("filters"))
    assert (tagged["tagged"], tagged["dropped"], tagged["out"]) == (1, 0, 2)
    assert (changed["changed"], changed["dropped"]) == (1, 0)
    assert dropped["dropped"] == 0


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        (IBAN, True),
        ("GB82WEST12345698765432", True),
        ("NO9386011117947", True),
        ("DE89 3704 0044 0532 0130 01", False),
        ("GB82WEST1234", False),
    ],
)
def test_account_numbers(bench: Any, number: str, valid: bool) -> None:
    assert mod97(number) is valid
    run(bench, [{"prompt": "p", "completion": f"to {number}."}], {"kind": "pii", "find": ["iban"]})
    assert bool(bench.dropped()) is valid


@pytest.mark.parametrize(
    "key",
    [
        "sk-" + "a1" * 12,
        "sk_live_" + "a1" * 10,
        "github_pat_" + "a1" * 12,
        "glpat-" + "a1" * 10,
        "AKIA" + "A1" * 8,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIE",
    ],
)
def test_keys_go_whole(key: str) -> None:
    assert redact(f"use {key}", ["key"]) == ("use [KEY]", {"key": 1})


@given(
    st.lists(
        st.sampled_from([MAIL, CARD, PHONE, IBAN, KEY, "x@y.example", "1234", ",", "a+b", "4"]),
        max_size=8,
    )
)
def test_nothing_is_found_in_what_is_redacted(parts: list[str]) -> None:
    text = " ".join(parts)
    clean, counts = redact(text, list(PATTERNS))
    assert not any(list(spans(clean, kind)) for kind in PATTERNS)
    assert sum(counts.values()) == len(re.findall(r"\[(?:EMAIL|PHONE|CARD|IBAN|KEY)\]", clean))


def test_sql_and_python_find_the_same(bench: Any) -> None:
    texts = [MAIL, CARD, PHONE, IBAN, KEY, "x@y.example", "5+600 00 00", "0" * 16, "GB82WEST1234",
             f"é{MAIL}", f"(555) 123-4567, {IBAN}x", "2024-12-31"]  # fmt: skip
    rows = [{"prompt": "p", "completion": text} for text in texts]
    for kind in PATTERNS:
        run(bench, rows, {"kind": "pii", "find": [kind], "of": "completion"})
        python = {f"s:{n}" for n, text in enumerate(texts) if list(spans(text, kind))}
        assert set(bench.dropped()) == python
