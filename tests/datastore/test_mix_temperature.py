"""Mixing by temperature: the shares, what stays whole, and that nothing is repeated."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tuneforge_datastore.mix import tempered
from tuneforge_specs.datasets import Dataset

COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 10**6), min_size=1)


@given(COUNTS, st.floats(1.0, 100.0))
def test_shares_follow_the_power_and_no_row_is_taken_twice(
    counts: dict[str, int], temperature: float
) -> None:
    taken = tempered(counts, temperature)
    filled = {name: count for name, count in counts.items() if count}
    assert all(taken[name] <= count for name, count in counts.items())
    if not filled:
        return
    least = min(filled, key=lambda name: filled[name])
    assert taken[least] == filled[least]
    for name, count in filled.items():
        wanted = taken[least] * (count / filled[least]) ** (1 / temperature)
        assert abs(taken[name] - wanted) <= 0.5


def test_one_takes_all_and_much_takes_as_many_of_each() -> None:
    counts = {"a": 10_000, "b": 100, "c": 400}
    assert tempered(counts, 1.0) == counts
    assert tempered(counts, 2.0) == {"a": 1000, "b": 100, "c": 200}
    assert tempered(counts, 1e9) == {"a": 100, "b": 100, "c": 100}


@pytest.fixture
def sources(bench: Any) -> Any:
    def rows(name: str, count: int) -> Any:
        data = [
            {"prompt": f"{name} {n}", "completion": f"{name} answers {n}"} for n in range(count)
        ]
        return bench.source(name, data)

    return {"big": rows("big", 100), "small": rows("small", 4)}


def sides(bench: Any) -> Counter[str]:
    return Counter(row["source"] for row in bench.kept())


def test_a_dataset_is_mixed_by_temperature(bench: Any, sources: Any) -> None:
    bench.curate(sources, mix_temperature=2.0)
    assert sides(bench) == {"big": 20, "small": 4}
    row = next(iter(bench.dropped().values()))
    assert (row["stage"], row["rule"], len(bench.dropped())) == ("mix", "sampled-out", 80)
    first = [row["id"] for row in bench.kept()]
    bench.curate(sources, mix_temperature=2.0)
    assert [row["id"] for row in bench.kept()] == first
    bench.curate(sources, mix_temperature=2.0, seed=5)
    assert [row["id"] for row in bench.kept()] != first


def test_fractions_go_first(bench: Any, sources: Any) -> None:
    mix = [{"source": "big", "fraction": 0.64}, {"source": "small"}]
    bench.curate(sources, **{"from": mix}, mix_temperature=2.0)
    assert sides(bench) == {"big": 16, "small": 4}


def test_a_temperature_that_would_repeat_rows_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Dataset.model_validate({"from": [{"source": "a"}], "mix_temperature": 0.5})
