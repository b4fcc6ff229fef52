"""Filters of what a text is made of: symbols, repetition, echoes, roles, personal data."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.repetition import excess


def dropped(bench: Any, rows: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """Give what one filter drops, by id, with a record added that it keeps."""
    spare = {"prompt": "Who?", "completion": "A record that is kept."}
    folder = bench.source("s", [*rows, spare])
    bench.curate({"s": folder}, filters=[keys], dedup={"exact": False})
    found: dict[str, Any] = bench.dropped()
    return found


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"prompt": "Why is that so?", "completion": text} for text in texts]


def test_symbols(bench: Any) -> None:
    rows = answers("words, and more!", "$$ ## !! ab", "ab12 34", "日本語のテキスト。", "été à là")
    found = dropped(bench, rows, kind="symbols")
    assert list(found) == ["s:1"]
    assert found["s:1"]["score"] == pytest.approx(6 / 8)
    assert found["s:1"]["reason"] == "75.0% symbols: more than 30%"
    assert list(dropped(bench, rows, kind="symbols", what="digits")) == ["s:2"]
    assert list(dropped(bench, rows, kind="symbols", what="digits", max=0.7)) == []
    prompts = [{"prompt": "?!?! a", "completion": "words"}]
    assert list(dropped(bench, prompts, kind="symbols", of="prompt", max=0.5)) == ["s:0"]


def test_repetition(bench: Any) -> None:
    prose = "It rained all day and the streets were empty when we finally left the house."
    rows = answers(prose, "\n".join([prose] * 3), "so " * 40, f"{prose} {prose}", "one two")
    found = dropped(bench, rows, kind="repetition")
    assert list(found) == ["s:1", "s:2", "s:3"]
    assert all(row["score"] > 1 for row in found.values())
    assert list(dropped(bench, rows, kind="repetition", strictness=0.01)) == []
    assert list(dropped(bench, rows, kind="repetition", of="prompt")) == []


def test_the_measures_of_repetition_by_hand() -> None:
    # Two of four lines repeat: 0.5 of the lines, 2 of 8 characters in them would be 0.25.
    assert excess("ab\nab\ncd\ncd") == pytest.approx(0.5 / 0.2)
    assert excess("a b c d e f g") == 0.0
    # The run "a b" twice in five words of one letter: 4 of 5 characters.
    assert excess("a b a b c") == pytest.approx(4 / 5 / 0.20)


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=20, unique=True))
def test_distinct_words_never_repeat(words: list[str]) -> None:
    assert excess(" ".join(words)) == 0.0


def test_echo(bench: Any) -> None:
    rows = [
        {
            "prompt": "Name the capital of France",
            "completion": "name the  capital of\nFRANCE: P",
        },
        {"prompt": "Name the capital of France", "completion": "Paris is the capital."},
        {"prompt": "Hello", "completion": "Hello there"},
    ]
    assert list(dropped(bench, rows, kind="echo")) == ["s:0"]
    assert list(dropped(bench, rows, kind="echo", min=5)) == ["s:0", "s:2"]


@pytest.mark.parametrize(
    ("roles", "kept"),
    [
        ("ua", True),
        ("suaua", True),
        ("uata", True),
        ("uattata", True),
        ("u", False),
        ("uau", False),
        ("uuaa", False),
        ("au", False),
        ("usa", False),
        ("uat", False),
        ("ssua", False),
    ],
)
def test_roles(bench: Any, roles: str, kept: bool) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    rows = [{"messages": [{"role": names[one], "content": "x"} for one in roles]}]
    bench.file("spare.jsonl", [{"prompt": "Who?", "completion": "kept"}])
    sources = {"s": bench.source("s", rows), "spare": bench.ingest("spare.jsonl", "spare")}
    bench.curate(sources, filters=[{"kind": "roles"}])
    assert (list(bench.dropped()) == []) is kept


def test_roles_of_preferences(bench: Any) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    answer = {"chosen": "c", "rejected": "d"}
    rows = [{"messages": [*turns, turns[0]], **answer}, {"messages": [*turns], **answer}]
    bench.curate({"s": bench.source("s", rows)}, filters=[{"kind": "roles"}])
    assert list(bench.dropped()) == ["s:1"]


def test_url_only(bench: Any) -> None:
    rows = answers("https://a.org/x?y=1", "<https://a.org>\nwww.b.org", "See www.a.org", "words")
    assert list(dropped(bench, rows, kind="url-only")) == ["s:0", "s:1"]
    prompts = [{"prompt": "https://a.org", "completion": "words"}]
    assert list(dropped(bench, prompts, kind="url-only", of="prompt")) == ["s:0"]


FINDS = {
    "email": ("write to jane.doe@mail.co.uk now", "write to jane@example.com", "a @ b"),
    "phone": ("call +44 20 7946 0958 or", "2024-12-31, 5+60000", "3.141-592 = x+200-75"),
    "card": (
        "pay with 4111 1111 1111 1111 please",
        "order 4111 1111 1111 1112",
        "0" * 16,
    ),
    "key": ("token ghp_" + "a1" * 18 + " here", "the sky is blue", "sk-short"),
}


@pytest.mark.parametrize("kind", FINDS)
def test_personal_data(bench: Any, kind: str) -> None:
    rows = answers(*FINDS[kind])
    found = dropped(bench, rows, kind="pii", find=[kind])
    assert list(found) == ["s:0"]
    assert found["s:0"]["reason"] == f"{kind} found"
    # The ledger shows where it was, not what it was.
    assert "…" in found["s:0"]["evidence"]
    assert len(found["s:0"]["evidence"]) == 5
    others = [one for one in FINDS if one != kind]
    assert dropped(bench, rows[:1], kind="pii", find=others) == {}
    assert list(dropped(bench, rows[:1], kind="pii")) == ["s:0"]
    assert dropped(bench, rows[:1], kind="pii", of="prompt") == {}


def luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def test_card_numbers_are_checked_as_in_plain_python(bench: Any) -> None:
    random = Random(5)
    numbers = [f"4{random.randrange(10**15):015}" for _ in range(80)]
    found = dropped(bench, answers(*numbers), kind="pii", find=["card"])
    assert list(found) == [f"s:{n}" for n, number in enumerate(numbers) if luhn(number)]
    assert found
