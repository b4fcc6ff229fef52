"""Each filter drops what it names and keeps what merely looks like it."""

from typing import Any

import pytest
from tuneforge_datastore.filters import FILTERS, check
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.filters import Filter, SqlFilter

PROSE = "It rained all day and the streets were empty when we finally left the house"


def run(bench: Any, rows: list[dict[str, Any]], *filters: dict[str, Any]) -> dict[int, Any]:
    """Give the ledger rows of what the filters drop, by place."""
    folder = bench.source("src", rows)
    extra = {"kind": "sql", "name": "last", "keep": "true"}
    bench.file("spare.jsonl", [{"prompt": "spare", "completion": "A spare record, always kept."}])
    spare = bench.ingest("spare.jsonl", "spare")
    bench.curate({"src": folder, "spare": spare}, filters=[*filters, extra], dedup={"exact": False})
    dropped = bench.dropped()
    return {int(key.split(":")[1]): row for key, row in dropped.items() if key.startswith("src")}


def answers(*completions: str) -> list[dict[str, Any]]:
    return [{"prompt": "Why?", "completion": text} for text in completions]


@pytest.mark.parametrize(
    ("keys", "dropped"),
    [
        ({"min": 3}, [0, 1]),
        ({"max": 2}, [2, 3]),
        ({"min": 2, "max": 3}, [0, 3]),
        ({"unit": "characters", "min": 8}, [0]),
        ({"of": "prompt", "max": 1}, []),
        ({"of": "prompt", "min": 2}, [0, 1, 2, 3]),
        ({"of": "whole", "min": 4, "max": 5}, [0, 1, 3]),
    ],
)
def test_length(bench: Any, keys: dict[str, Any], dropped: list[int]) -> None:
    rows = answers("one", "one two\n", " one\ttwo\n three ", "a b c d e f")
    spare = {"min": 0} | keys  # the spare record may go too: what is looked at is "src"
    try:
        found = run(bench, rows, {"kind": "length", **spare})
    except DataError:
        found = dict.fromkeys(range(4))
    assert sorted(found) == dropped


def test_length_says_how_long(bench: Any) -> None:
    found = run(bench, answers("one two"), {"kind": "length", "min": 3})
    assert found[0]["reason"] == "completion of 2 words: fewer than the least, 3"
    assert (found[0]["score"], found[0]["rule"], found[0]["stage"]) == (2.0, "length", "filters[0]")


def test_empty(bench: Any) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [
        {"prompt": "a", "completion": " \n"},
        {"prompt": "\t", "completion": "b"},
        {"prompt": "a", "completion": "b"},
    ]
    found = run(bench, rows, {"kind": "empty"})
    assert {place: row["reason"] for place, row in found.items()} == {
        0: "the completion is empty",
        1: "the prompt is empty",
    }
    talks = [
        {"messages": turns},
        {"messages": [turns[0], {"role": "assistant", "content": ""}, *turns]},
        {"messages": [{"role": "system", "content": ""}, *turns]},
        {"messages": [turns[0], {"role": "assistant", "tool_calls": [{"name": "f"}]}, *turns]},
    ]
    assert {p: row["reason"] for p, row in run(bench, talks, {"kind": "empty"}).items()} == {
        1: "a turn is empty"
    }


def test_empty_knows_text_and_preferences(bench: Any) -> None:
    pairs = [
        {"prompt": "a", "chosen": "b", "rejected": ""},
        {"prompt": "a", "chosen": "", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
    ]
    folder = bench.source("src", pairs)
    bench.curate({"src": folder}, filters=[{"kind": "empty"}])
    assert sorted(bench.dropped()) == ["src:0", "src:1"]
    texts = bench.source("texts", [{"text": ""}, {"text": "words"}])
    bench.curate({"texts": texts}, filters=[{"kind": "empty"}])
    assert sorted(bench.dropped()) == ["texts:0"]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, but I can’t help with that.", True),
        ("I cannot assist with that request.", True),
        ("As an AI language model, I have no opinion.", True),
        ("Well, I am just an AI, so no.", True),
        ("Unfortunately, I am unable to do this.", True),
        ("Dear Ms Smith, I'm sorry, but the order is late.", False),
        ("The actor said: I cannot provide an answer.", False),
        ("I can help: press the red button.", False),
        ("Sorry to hear that! Restart the router.", False),
    ],
)
def test_refusal(bench: Any, text: str, dropped: bool) -> None:
    found = run(bench, answers(text), {"kind": "refusal"})
    assert bool(found) is dropped
    if dropped:
        assert found[0]["evidence"].strip(" ,.") in text


def test_refusal_phrases_are_added(bench: Any) -> None:
    rows = answers("No comment (sic).", "NO COMMENT (SIC)!", "I'm sorry, but I can't.", "Gladly.")
    phrases = {"kind": "refusal", "phrases": ["no comment (sic)"]}
    assert sorted(run(bench, rows, phrases)) == [0, 1, 2]
    assert sorted(run(bench, rows, {"kind": "refusal"})) == [2]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (PROSE, True),
        (PROSE + ",", True),
        (PROSE + " and then we (", True),
        ("The steps are (first, second", True),
        ('{"a": [1, 2', True),
        ("```python\nprint(1)\n", True),
        (PROSE + ".", False),
        (PROSE + '."', False),
        (PROSE + "。", False),
        ("42", False),
        ("New York City", False),
        ("- apples\n- pears", False),
        ("An interval is written [0, 1).", False),
        ('{"a": [1, 2]}', False),
        ("```python\nprint(1)\n```", False),
        (PROSE + " :)", False),
    ],
)
def test_truncated(bench: Any, text: str, dropped: bool) -> None:
    assert bool(run(bench, answers(text), {"kind": "truncated"})) is dropped


CLEAN = [
    "naïve café – “quoted” … €5",
    "Ãgua? São Paulo, mañana",
    "日本語 текст العربية",
    "5 ÷ 2 × 3",
    "👍🏽",
]


@pytest.mark.parametrize("text", CLEAN)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_encoding_finds_utf8_read_as_another(bench: Any, text: str, wrong: str) -> None:
    broken = text.encode().decode(wrong, "replace")
    found = run(bench, answers(broken, text), {"kind": "encoding"})
    assert sorted(found) == [0]
    assert found[0]["evidence"]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [("a\ufffdb", True), ("a\x07b", True), ("a\x00b", True), ("tab\tand\nline\r\n", False)],
)
def test_encoding_finds_other_damage(bench: Any, text: str, dropped: bool) -> None:
    assert bool(run(bench, answers(text), {"kind": "encoding"})) is dropped


def test_sql(bench: Any) -> None:
    rows = [{"prompt": "p", "completion": "c", "stars": n} for n in (1, 4, None)]
    keep = "(meta->>'stars')::INT >= 3 -- with a comment"
    folder = bench.source("src", rows)
    bench.curate(
        {"src": folder},
        filters=[{"kind": "sql", "name": "good", "keep": keep}],
        dedup={"exact": False},
    )
    found = bench.dropped()
    # Null is not true.
    assert sorted(found) == ["src:0", "src:2"]
    assert (found["src:0"]["rule"], found["src:0"]["reason"]) == ("good", f"not true: {keep}")


@pytest.mark.parametrize(
    ("keep", "kind", "message"),
    [
        ("complettion <> ''", UsageError, "datasets.set.filters[0].keep: .*complettion"),
        ("prompt LIKE", UsageError, "syntax error"),
        ("true) FROM x; DROP TABLE y; --", UsageError, "filters.0..keep"),
        ("sum(1) > 0", UsageError, "(?i)aggregate"),
        ("completion::INT > 1", DataError, r"filters\[0\] .mine.: .*Could not convert"),
        ("EXISTS (FROM read_text('/etc/passwd'))", UsageError, "disabled by configuration"),
        ("EXISTS (SELECT getenv('HOME'))", UsageError, "getenv"),
    ],
)
def test_sql_that_is_wrong(bench: Any, keep: str, kind: type[Exception], message: str) -> None:
    folder = bench.source("src", answers("one"))
    with pytest.raises(kind, match=message.replace("filters[0].keep", r"filters\[0\]\.keep")):
        bench.curate({"src": folder}, filters=[{"kind": "sql", "name": "mine", "keep": keep}])


def test_the_first_filter_that_fails_names_the_reason(bench: Any) -> None:
    filters = [{"kind": "empty"}, {"kind": "length", "min": 2}]
    found = run(bench, answers("", "one"), *filters)
    assert {place: row["rule"] for place, row in found.items()} == {0: "empty", 1: "length"}
    found = run(bench, answers("", "one"), *reversed(filters))
    assert {place: row["rule"] for place, row in found.items()} == {0: "length", 1: "length"}


def kinds() -> set[str]:
    (union,) = Filter.__metadata__[:0] or (Filter.__origin__,)  # type: ignore[attr-defined]
    return {model.model_fields["kind"].annotation.__args__[0] for model in union.__args__}


def test_the_registry_holds_every_kind_of_the_spec() -> None:
    assert set(FILTERS) == kinds()
    needed: dict[str, dict[str, Any]] = {
        "sql": {"name": "n", "keep": "true"},
        "language": {"keep": ["en"]},
        "wordlist": {"words": ["x"]},
        "column": {"column": "x"},
        "judge": {"url": "http://localhost", "model": "m", "rubric": "r", "min": 1.0},
    }
    for kind in FILTERS:
        keys = {"kind": kind, **needed.get(kind, {})}
        spec = Dataset.model_validate({"from": [{"source": "s"}], "filters": [keys]})
        assert check(spec.filters[0]).rule


def test_a_quote_in_a_name_is_a_quote(bench: Any) -> None:
    spec = SqlFilter(kind="sql", name="it's", keep="completion <> 'it''s'")
    found = run(bench, answers("it's", "fine"), spec.model_dump())
    assert {place: row["rule"] for place, row in found.items()} == {0: "it's"}
