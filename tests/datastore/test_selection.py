"""Selections among the records that are left: what each kind keeps, and why it drops the rest."""

import json
from collections import Counter
from typing import Any

import pytest
from tuneforge_datastore.selection import SELECTIONS
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.selection import Selection


def rows(topics: str, words: int = 3) -> list[dict[str, Any]]:
    return [
        {"prompt": f"ask {n}", "completion": f"{n}-{topic} " * words, "topic": topic}
        for n, topic in enumerate(topics)
    ]


def select(bench: Any, data: list[dict[str, Any]], *selections: dict[str, Any], **more: Any) -> Any:
    folder = bench.source("s", data)
    return bench.curate({"s": folder}, select=list(selections), **more)


def topics(bench: Any) -> Counter[str]:
    return Counter(json.loads(row["meta"])["topic"] for row in bench.kept())


def kept(bench: Any) -> list[str]:
    return [row["id"] for row in bench.kept()]


def test_the_registry_holds_every_kind_of_the_spec() -> None:
    union: Any = Selection
    kinds = {
        model.model_fields["kind"].annotation.__args__[0] for model in union.__origin__.__args__
    }
    assert set(SELECTIONS) == kinds


def test_a_sample_is_seeded_and_stable(bench: Any) -> None:
    data = rows("ab" * 100)
    made = select(bench, data, {"kind": "sample", "rows": 20})
    assert (made.kept, made.funnel[-1]["dropped"]) == (20, 180)
    first = kept(bench)
    assert first == sorted(first, key=lambda one: int(one[2:]))
    # One record more displaces one at most; another seed draws others.
    select(bench, [*data, *rows("c")], {"kind": "sample", "rows": 20})
    assert len(set(first) - set(kept(bench))) <= 1
    select(bench, data, {"kind": "sample", "rows": 20}, seed=5)
    assert kept(bench) != first
    found = next(iter(bench.dropped().values()))
    assert (found["stage"], found["rule"]) == ("select[0]", "sampled-out")
    assert found["reason"] == "not among the 20 records drawn"
    assert select(bench, data, {"kind": "sample", "rows": 500}).kept == 200


def test_a_cap_by_column_or_expression(bench: Any) -> None:
    data = rows("aaaaabbc")
    select(bench, data, {"kind": "cap", "by": "topic", "max": 2})
    assert topics(bench) == {"a": 2, "b": 2, "c": 1}
    found = list(bench.dropped().values())
    assert {row["reason"] for row in found} == {"5 records have topic = a; 2 are kept"}
    assert {(row["rule"], row["score"]) for row in found} == {("capped", 5.0)}
    select(bench, data, {"kind": "cap", "by": "topic", "max": 2, "keep": "first"})
    assert kept(bench) == ["s:0", "s:1", "s:5", "s:6", "s:7"]
    select(bench, data, {"kind": "cap", "by": "meta->>'topic' = 'a'", "max": 1, "keep": "first"})
    assert kept(bench) == ["s:0", "s:5"]
    select(bench, data, {"kind": "cap", "by": "source", "max": 3})
    assert len(kept(bench)) == 3


def test_null_is_a_value(bench: Any) -> None:
    data = [*rows("aa"), *({"prompt": f"no {n}", "completion": "x"} for n in range(3))]
    select(bench, data, {"kind": "cap", "by": "topic", "max": 1, "keep": "first"})
    assert kept(bench) == ["s:0", "s:2"]
    assert "topic = null" in bench.dropped()["s:4"]["reason"]


def test_balance_thins_out_and_never_repeats(bench: Any) -> None:
    data = rows("a" * 30 + "b" * 10 + "c" * 2)
    select(bench, data, {"kind": "balance", "by": "topic"})
    assert topics(bench) == {"a": 2, "b": 2, "c": 2}
    select(bench, data, {"kind": "balance", "by": "topic", "ratio": 2.5})
    assert topics(bench) == {"a": 5, "b": 5, "c": 2}
    assert len(set(kept(bench))) == 12
    select(bench, data, {"kind": "balance", "by": "topic", "least": 5})
    assert topics(bench) == {"a": 10, "b": 10, "c": 2}
    found = bench.dropped()
    assert {row["score"] for row in found.values()} == {10 / 30}
    assert {row["reason"] for row in found.values()} == {
        "30 records have topic = a; 10 are kept, as the rarest value has 10"
    }
    assert select(bench, data, {"kind": "balance", "by": "topic", "least": 99}).kept == 42


def test_take_keeps_the_beginning(bench: Any) -> None:
    data = rows("aaaa", words=4)  # each record: 2 words of prompt, 4 of completion
    select(bench, data, {"kind": "take", "rows": 2})
    assert kept(bench) == ["s:0", "s:1"]
    assert bench.dropped()["s:2"]["reason"] == "behind the first 2 records"
    for words, count in ((6, 1), (17, 2), (18, 3), (100, 4)):
        select(bench, data, {"kind": "take", "words": words})
        assert len(kept(bench)) == count
    select(bench, data, {"kind": "take", "rows": 3, "words": 12})
    assert len(kept(bench)) == 2
    assert bench.dropped()["s:3"]["reason"] == "behind the first 12 words"
    with pytest.raises(ValueError, match="needs `rows`, `words` or `tokens`"):
        Dataset.model_validate({"from": [{"source": "s"}], "select": [{"kind": "take"}]})


def test_a_cap_on_clusters(bench: Any) -> None:
    text = "the same long passage that is told again and again with one word changed at its end "
    data = [{"prompt": "p", "completion": text * 2 + f"number{n}"} for n in range(4)]
    data.append({"prompt": "q", "completion": "something else entirely, which nobody repeats"})
    for cap, left in ((1, ["s:0", "s:4"]), (3, ["s:0", "s:1", "s:2", "s:4"])):
        select(bench, data, {"kind": "cluster-cap", "max": cap})
        assert kept(bench) == left
    found = bench.dropped()["s:3"]
    assert (found["rule"], found["witness"], found["score"]) == ("cluster-capped", "s:0", 4.0)
    assert found["reason"] == "one of 4 similar records; 3 are kept"
    strict = {"kind": "cluster-cap", "max": 1, "threshold": 1.0}
    assert select(bench, data, strict).kept == 5
    assert select(bench, data, {**strict, "threshold": 0.5, "ngram": 200}).kept == 5
    assert select(bench, data, {"kind": "cluster-cap", "max": 1, "of": "prompt"}).kept == 2


def test_selections_follow_deduplication_and_each_other(bench: Any) -> None:
    data = rows("aab") * 2
    made = select(
        bench,
        data,
        {"kind": "cap", "by": "topic", "max": 1, "keep": "first"},
        {"kind": "take", "rows": 1},
    )
    assert [(step["stage"], step["out"]) for step in made.funnel[-3:]] == [
        ("dedup.exact", 3),
        ("select[0]", 2),
        ("select[1]", 1),
    ]
    assert kept(bench) == ["s:0"]


@pytest.mark.parametrize(
    ("by", "kind", "message"),
    [
        ("topik", UsageError, r"datasets\.set\.select\[0\]\.by: no record has a column topik"),
        ("meta->>", UsageError, r"select\[0\]\.by: .*syntax error"),
        ("1) FROM x; DROP TABLE y; --", UsageError, r"select\[0\]\.by"),
        ("count(*)", UsageError, r"select\[0\]\.by"),
        ("(SELECT content FROM read_text('/etc/passwd'))", UsageError, "disabled"),
        ("(meta->>'topic')::INT", DataError, r"select\[0\]\.by: .*Could not convert"),
    ],
)
def test_expressions_that_are_wrong(bench: Any, by: str, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        select(bench, rows("ab"), {"kind": "cap", "by": by, "max": 1})
