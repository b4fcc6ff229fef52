"""Curation: what each key of a dataset does, and that every record is accounted for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.errors import DataError, UsageError

Pairs = Callable[..., list[dict[str, str]]]
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "wizards",
    "brew",
]


def passage(seed: int, length: int = 40) -> str:
    numbers = ((seed * 7 + n * n, (seed * 31 + n) % 97) for n in range(length))
    return " ".join(f"{WORDS[pick % len(WORDS)]}{number}" for pick, number in numbers)


def test_a_fraction_is_a_seeded_share(bench: Any, pairs: Pairs) -> None:
    a = bench.source("a", pairs(*(f"answer {n}" for n in range(200))))
    b = bench.source("b", [{"prompt": f"other {n}", "completion": f"x {n}"} for n in range(50)])
    mix = [{"source": "a", "fraction": 0.25}, {"source": "b"}]

    def drawn(seed: int) -> list[str]:
        made = bench.curate({"a": a, "b": b}, **{"from": mix}, seed=seed)
        assert (made.records, made.kept) == (250, 100)
        return [row["id"] for row in bench.kept()]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert [one.split(":")[0] for one in first] == ["a"] * 50 + ["b"] * 50
    assert {row["rule"] for row in bench.dropped().values()} == {"sampled-out"}


def test_rows_added_to_a_source_change_no_other_draw(bench: Any, pairs: Pairs) -> None:
    rows = pairs(*(f"answer {n}" for n in range(400)))
    mix = [{"source": "a", "fraction": 0.5}]
    kept = []
    for count in (200, 400):
        folder = bench.source("a", rows[:count])
        bench.curate({"a": folder}, **{"from": mix})
        kept.append({row["id"] for row in bench.kept() if int(row["id"][2:]) < 200})
    assert len(kept[0] ^ kept[1]) < 40


def test_exact_duplicates_name_the_first(bench: Any, pairs: Pairs) -> None:
    rows = pairs("same", "other")
    rows += [{"prompt": " question  0", "completion": "same\n"}, {**rows[0], "more": "1"}]
    folder = bench.source("a", rows)
    bench.curate({"a": folder})
    found = bench.dropped()
    assert sorted(found) == ["a:2", "a:3"]
    assert {(row["rule"], row["witness"], row["score"]) for row in found.values()} == {
        ("exact-duplicate", "a:0", 1.0)
    }
    assert bench.curate({"a": folder}, dedup={"exact": False}).kept == 4


def test_duplicates_across_sources_keep_the_source_named_first(bench: Any, pairs: Pairs) -> None:
    a, b = (bench.source(name, pairs("same")) for name in ("a", "b"))
    bench.curate({"b": b, "a": a})
    assert [row["id"] for row in bench.kept()] == ["b:0"]
    assert bench.dropped()["a:0"]["witness"] == "b:0"


def test_a_duplicate_of_a_filtered_record_is_kept(bench: Any, pairs: Pairs) -> None:
    folder = bench.source("a", [{**row, "bad": n == 0} for n, row in enumerate(pairs("x") * 2)])
    keep = {"kind": "sql", "name": "bad", "keep": "meta->>'bad' = 'false'"}
    bench.curate({"a": folder}, filters=[keep])
    assert [row["id"] for row in bench.kept()] == ["a:1"]


def near_rows() -> list[dict[str, str]]:
    text = passage(1, 60)
    other = text.replace(text.split()[30], "changed", 1)
    return [
        {"prompt": "p", "completion": text},
        {"prompt": "p", "completion": passage(2, 60)},
        {"prompt": "p", "completion": other},
        {"prompt": passage(5), "completion": "short one"},
    ]


def test_near_duplicates_name_a_witness_and_a_score(bench: Any) -> None:
    folder = bench.source("a", near_rows())
    bench.curate({"a": folder}, dedup={"near": {}})
    (found,) = bench.dropped().values()
    assert (found["id"], found["witness"], found["rule"]) == ("a:2", "a:0", "near-duplicate")
    assert 0.8 <= found["score"] < 1.0
    assert found["reason"] == f"{found['score']:.3f} similar to an earlier record"


@pytest.mark.parametrize(
    ("near", "dropped"),
    [
        (False, []),
        ({"threshold": 0.99}, []),
        ({"threshold": 0.8, "ngram": 30}, []),
        ({"threshold": 0.8, "ngram": 1}, ["a:2"]),
        ({"threshold": 0.8, "permutations": 256}, ["a:2"]),
        ({"of": "prompt"}, ["a:1", "a:2"]),
        ({"of": "completion"}, ["a:2"]),
    ],
)
def test_each_key_of_near_dedup(bench: Any, near: Any, dropped: list[str]) -> None:
    folder = bench.source("a", near_rows())
    bench.curate({"a": folder}, dedup={"near": near})
    assert sorted(bench.dropped()) == dropped


def test_decontamination_shows_the_matched_text(bench: Any) -> None:
    leak = passage(9, 15)
    rows = [
        {"prompt": "p", "completion": f"Before it. {leak} And after."},
        {"prompt": "p", "completion": passage(3)},
    ]
    a = bench.source("a", rows)
    bench.source("one", [{"prompt": passage(4), "completion": "x"}])
    bench.file(
        "bench.jsonl",
        [{"prompt": passage(7), "completion": "x"}, {"prompt": leak, "completion": "y"}],
    )
    against = {"bench": bench.ingest("bench.jsonl", "bench")}
    bench.curate({"a": a}, against, decontaminate={"against": ["bench"]})
    (found,) = bench.dropped().values()
    assert (found["id"], found["witness"], found["rule"]) == ("a:0", "bench:1", "contaminated")
    assert leak in found["evidence"]
    longer = {"against": ["bench"], "ngram": 16}
    assert bench.curate({"a": a}, against, decontaminate=longer).kept == 2
    assert bench.curate({"a": a}, against, decontaminate=False).kept == 2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_split_holds_out_a_share(bench: Any, pairs: Pairs, share: float) -> None:
    folder = bench.source("a", pairs(*(passage(n) for n in range(300))))
    made = bench.curate({"a": folder}, split={"eval": share, "by": "record"})
    assert made.eval == pytest.approx(300 * share, abs=40)
    assert made.train + made.eval == 300
    assert sum(row["split"] == "eval" for row in bench.kept()) == made.eval


def test_what_a_split_keeps_together(bench: Any) -> None:
    rows = []
    for n in range(40):
        text = passage(n, 60)
        twin = text.replace(text.split()[30], "changed", 1)
        rows += [{"prompt": f"p{n}", "completion": text}, {"prompt": f"q{n}", "completion": twin}]
        rows += [{"prompt": f"p{n}", "completion": f"short {n}"}]
    folder = bench.source("a", rows)
    sides = {}
    for by in ("near-duplicate-cluster", "prompt", "record"):
        bench.curate({"a": folder}, split={"eval": 0.4, "by": by})
        kept = bench.kept()
        sides[by] = [row["split"] for row in kept]
        if by == "near-duplicate-cluster":
            assert [row["cluster"] for row in kept[:3]] == ["a:0", "a:0", "a:2"]

    def together(by: str, first: int, second: int) -> bool:
        return all(sides[by][n + first] == sides[by][n + second] for n in range(0, 120, 3))

    assert together("near-duplicate-cluster", 0, 1)
    assert not together("near-duplicate-cluster", 0, 2)
    assert together("prompt", 0, 2)
    assert not together("prompt", 0, 1)
    assert not together("record", 0, 1)


def test_every_record_is_accounted_for(bench: Any, pairs: Pairs) -> None:
    bench.file(
        "a.jsonl", b"{broken\n" + b"\n".join(json.dumps(r).encode() for r in pairs("", "b", "b2"))
    )
    a = bench.ingest("a.jsonl", "a", on_error="skip")
    b = bench.source("b", pairs("c", "b"))
    made = bench.curate({"a": a, "b": b}, filters=[{"kind": "empty"}])
    ledger = pq.read_table(bench.folder / "dataset" / "ledger.parquet").to_pylist()
    assert [(row["id"], row["verdict"], row["rule"]) for row in ledger] == [
        ("a:0", "dropped", "unreadable"),
        ("a:1", "dropped", "empty"),
        ("a:2", "kept", ""),
        ("a:3", "kept", ""),
        ("b:0", "kept", ""),
        ("b:1", "dropped", "exact-duplicate"),
    ]
    assert ledger[0]["reason"].startswith("a.jsonl:1: broken JSON")
    assert ledger[0]["evidence"] == "{broken"
    funnel = json.loads((bench.folder / "dataset" / "funnel.json").read_text())
    assert funnel == made.funnel
    assert [(step["stage"], step["in"], step["dropped"], step["out"]) for step in funnel] == [
        ("read", 6, 1, 5),
        ("filters[0]", 5, 1, 4),
        ("dedup.exact", 4, 1, 3),
    ]


def test_nothing_left_names_the_rule_that_took_most(bench: Any, pairs: Pairs) -> None:
    folder = bench.source("a", pairs("one", "two", ""))
    filters = [{"kind": "empty"}, {"kind": "length", "min": 5}]
    with pytest.raises(DataError) as caught:
        bench.curate({"a": folder}, filters=filters)
    assert "no record is left of 3; most went at filters[1] (length: 2)" in caught.value.message
    assert "datasets.set.filters[1]" in caught.value.fix


def test_kinds_do_not_mix(bench: Any, pairs: Pairs) -> None:
    a = bench.source("a", pairs("one"))
    b = bench.source("b", [{"prompt": "p", "chosen": "c", "rejected": "r"}])
    texts = bench.source("t", [{"text": "words"}])
    with pytest.raises(DataError, match="a: instruction, b: preference"):
        bench.curate({"a": a, "b": b})
    assert bench.curate({"a": a, "t": texts}).kind == "instruction"


def test_a_source_named_twice(bench: Any, pairs: Pairs) -> None:
    folder = bench.source("a", pairs("one"))
    with pytest.raises(UsageError, match="a is named more than once"):
        bench.curate({"a": folder}, **{"from": [{"source": "a"}, {"source": "a"}]})


def test_the_bytes_are_the_same_whatever_the_threads(bench: Any, pairs: Pairs) -> None:
    rows = pairs(*(passage(n % 9000) + f" {n % 7}" for n in range(20_000)))
    folder = bench.source("a", rows)
    keys: dict[str, Any] = {
        "filters": [{"kind": "length", "min": 2}, {"kind": "truncated"}],
        "dedup": {"near": {}},
        "split": {"eval": 0.1},
    }
    keys["filters"].pop()
    for name, threads in (("one", 1), ("three", 3), ("again", 3)):
        bench.curate({"a": folder}, out=name, threads=threads, **keys)
    for file in ("kept.parquet", "ledger.parquet", "funnel.json"):
        contents = {(bench.folder / n / file).read_bytes() for n in ("one", "three", "again")}
        assert len(contents) == 1, file


def test_records_keep_their_content_and_order(bench: Any, shared_data: Path) -> None:
    folder = bench.ingest(str(shared_data / "glaive_toolcall_en_demo.json"))
    bench.curate({"src": folder}, dedup={"exact": False})
    kept = bench.kept()
    for row in kept:
        assert (row.pop("split"), row.pop("cluster")) == ("train", row["id"])
    assert kept == pq.read_table(folder / "records.parquet").to_pylist()


def test_real_data_through_every_stage(bench: Any, shared_data: Path) -> None:
    train = bench.ingest(str(shared_data / "gsm8k_train.jsonl"), "train")
    test = bench.ingest(str(shared_data / "gsm8k_test.jsonl"), "test")
    planted = bench.ingest(str(shared_data / "gsm8k_test.jsonl"), "planted", limit=20)
    made = bench.curate(
        {"train": train, "planted": planted},
        {"test": test},
        filters=[{"kind": "empty"}, {"kind": "encoding"}, {"kind": "refusal"}],
        dedup={"near": {}},
        decontaminate={"against": ["test"]},
        split={"eval": 0.05},
    )
    found = bench.dropped()
    assert {one for one in found if one.startswith("planted")} == {
        f"planted:{n}" for n in range(20)
    }
    assert all(found[f"planted:{n}"]["witness"] == f"test:{n}" for n in range(20))
    assert made.kept > 7000
    assert made.eval == pytest.approx(made.kept * 0.05, rel=0.3)


def test_every_key_of_a_dataset_is_used() -> None:
    # Where each key is shown to change something; a key added here needs its own line.
    shown = {
        "mix": "test_a_fraction_is_a_seeded_share",
        "mix_temperature": "test_mix_temperature",
        "clean": "test_cleaning",
        "filters": "test_filters",
        "dedup": "test_each_key_of_near_dedup",
        "decontaminate": "test_decontamination_shows_the_matched_text",
        "select": "test_selection",
        "split": "test_what_a_split_keeps_together",
        "template": "the rendering's tests",
    }
    assert set(Dataset.model_fields) == set(shown)


WORD = st.sampled_from(WORDS)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(WORD, max_size=6).map(" ".join), min_size=1, max_size=30), st.integers(0, 9)
)
def test_whatever_the_rows_the_ledger_and_the_kept_add_up(
    bench: Any, texts: list[str], seed: int
) -> None:
    folder = bench.source(
        "a", [{"prompt": "p", "completion": text} for text in [*texts, "a b c d"]]
    )
    filters = [{"kind": "empty"}, {"kind": "length", "min": 1, "max": 5}]
    made = bench.curate({"a": folder}, filters=filters, split={"eval": 0.3}, seed=seed)
    kept, dropped = bench.kept(), bench.dropped()
    assert {row["id"] for row in kept}.isdisjoint(dropped)
    assert len(kept) + len(dropped) == made.records == len(texts) + 1
    # An independent account: the first of each distinct text of one to five words.
    expected = {
        " ".join(text.split()) for text in [*texts, "a b c d"] if 1 <= len(text.split()) <= 5
    }
    assert sorted(row["completion"] for row in kept) == sorted(expected)
    assert all(
        made.funnel[n]["out"] == made.funnel[n + 1]["in"] for n in range(len(made.funnel) - 1)
    )
