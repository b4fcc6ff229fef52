"""Preference pairs: what is dropped and why, and what is said about their lengths."""

from typing import Any

import pytest
from tuneforge_datastore.curate import Inputs, Resources, curate
from tuneforge_datastore.pairing import LengthBias
from tuneforge_specs.datasets import Dataset


def pair(prompt: str, chosen: Any, rejected: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


@pytest.mark.parametrize(
    ("chosen", "rejected", "rule"),
    [
        ("yes", "yes", "equal-answers"),
        ("Yes, please.", "yes,  please.\n", "alike-answers"),
        ("caf\u00e9", "cafe\u0301", "alike-answers"),
        ("", "no", "empty-side"),
        ("yes", " \n", "empty-side"),
        ("", "", "empty-side"),
        ("yes", "no", None),
        ("yes.", "yes!", None),
    ],
)
def test_each_rule(bench: Any, chosen: str, rejected: str, rule: str | None) -> None:
    source = bench.source("a", [pair("p", chosen, rejected), pair("other", "good", "bad")])
    bench.curate({"a": source})
    assert {one: row["rule"] for one, row in bench.dropped().items()} == (
        {"a:0": rule} if rule else {}
    )
    assert all(row["stage"] == "pairs" for row in bench.dropped().values())


def test_answers_that_only_call_tools_are_not_empty(bench: Any) -> None:
    def calling(city: str) -> dict[str, Any]:
        call = {"function": {"name": "weather", "arguments": {"city": city}}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    rows = [pair("p", [calling("Rome")], [calling("Oslo")])]
    rows.append(pair("q", [calling("Rome")], [calling("Rome")]))
    bench.curate({"a": bench.source("a", rows)})
    assert {one: row["rule"] for one, row in bench.dropped().items()} == {"a:1": "equal-answers"}


def test_a_pair_that_contradicts_an_earlier_one(bench: Any) -> None:
    a = bench.source("a", [pair("p", "x", "y"), pair("q", "x", "y")])
    b = bench.source("b", [pair("p", "y", "x"), pair("q", "y", "z"), pair("p", "x", "y")])
    bench.curate({"a": a, "b": b})
    found = {one: (row["rule"], row["witness"]) for one, row in bench.dropped().items()}
    # b:2 agrees with a:0, and is only its duplicate.
    assert found == {"b:0": ("swapped-pair", "a:0"), "b:2": ("exact-duplicate", "a:0")}


def test_cleaning_comes_first(bench: Any) -> None:
    source = bench.source("a", [pair("p", "x\x00", "x"), pair("p", "y", "z")])
    assert bench.curate({"a": source}).kept == 2
    assert bench.curate({"a": source}, clean={}).kept == 1
    assert bench.dropped()["a:0"]["rule"] == "equal-answers"


def test_other_kinds_have_no_such_stage(bench: Any) -> None:
    made = bench.curate({"a": bench.source("a", [{"prompt": "p", "completion": ""}])})
    assert "pairs" not in {step["stage"] for step in made.funnel}
    made = bench.curate({"b": bench.source("b", [pair("p", "x", "y")])})
    assert sum(step["stage"] == "pairs" for step in made.funnel) == 4


@pytest.mark.parametrize("longer", [70, 80])
def test_bias_to_length_is_told(bench: Any, longer: int) -> None:
    rows = [
        pair(
            f"p{n}", *(("long " * 10 + str(n), "short") if n < longer else ("short", "long " * 10))
        )
        for n in range(100)
    ]
    source = bench.source("a", rows)
    logged: list[str] = []
    warned: list[str] = []
    resources = Resources(bench.folder / "tmp", log=logged.append, warn=warned.append)
    spec = Dataset.model_validate({"from": [{"source": "a"}], "split": {"eval": 0.0}})
    curate("set", spec, Inputs({"a": source}), bench.folder / "out", resources, seed=1)
    told = warned if longer > 75 else logged
    assert f"the chosen one is longer in {longer}% of the pairs" in told[-1]
    assert bool(warned) == (longer > 75)
    assert "dataset set: chosen answers have" in (warned or ["dataset set: chosen answers have"])[0]


def test_what_is_said_about_length() -> None:
    assert LengthBias(20.4, 1000.2, 0.1).told == (
        "chosen answers have 20 characters on average, rejected ones 1,000; "
        "the chosen one is longer in 10% of the pairs"
    )
    assert LengthBias(20, 10, 0.74).warning == ""
    assert "length instead of quality" in LengthBias(20, 10, 0.75).warning
