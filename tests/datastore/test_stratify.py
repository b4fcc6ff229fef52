"""The stratified split: every value has its share, groups stay whole, deviations are told."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_datastore.stratify import assign_stratified


def split(strata: list[int], share: float, groups: list[int] | None = None, seed: int = 1) -> Any:
    keys = pa.array([f"key {n}" for n in range(len(strata))])
    return assign_stratified(
        keys,
        np.array(strata, np.int64),
        [f"v{n}" for n in range(max(strata) + 1)],
        share=share,
        seed=seed,
        groups=None if groups is None else np.array(groups, np.int64),
    )


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_single_rows_come_within_a_row_of_the_share(
    strata: list[int], share: float, seed: int
) -> None:
    side, report = split(strata, share, seed=seed)
    held = Counter(s for s, where in zip(strata, side.to_pylist(), strict=True) if where == "eval")
    for number, one in enumerate(report):
        assert (one.rows, one.eval) == (strata.count(number), held[number])
        assert abs(one.eval - share * one.rows) <= 1.0 + 1e-9
        assert one.off == 0.0
    # What rounding may add: half a row for each value.
    assert abs(sum(held.values()) - share * len(strata)) <= max(1.0, len(report) / 2) + 1e-9
    assert 0 < sum(held.values()) < len(strata)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_groups_are_never_divided(rows: list[tuple[int, int]]) -> None:
    groups = [group for _, group in rows]
    side, _ = split([stratum for stratum, _ in rows], 0.3, groups)
    sides = set(zip(groups, side.to_pylist(), strict=True))
    assert len(sides) == len(set(groups))


def test_many_small_strata_together_have_the_share() -> None:
    side, report = split([n // 5 for n in range(500)], 0.05)
    assert 24 <= side.to_pylist().count("eval") <= 25
    assert max(one.eval for one in report) == 1


def test_what_groups_force_is_reported() -> None:
    # Value 1 is one group of ten: wholly held out or not at all.
    _, report = split([0] * 40 + [1] * 10, 0.3, [*range(40), *[40] * 10])
    assert (report[1].wanted, report[1].eval) == (3.0, 0)
    assert report[1].off == 2.0
    assert report[0].eval in (12, 13, 14, 15)


def rows(topics: str) -> list[dict[str, Any]]:
    return [
        {"prompt": f"ask {n} {topic}", "completion": f"{n} {topic}", "topic": topic}
        for n, topic in enumerate(topics)
    ]


@pytest.mark.parametrize("by", ["topic", "upper(meta->>'topic')"])
@pytest.mark.parametrize("unit", ["record", "near-duplicate-cluster"])
def test_a_dataset_by_column_or_expression(bench: Any, by: str, unit: str) -> None:
    folder = bench.source("s", rows("a" * 60 + "b" * 20 + "c" * 10))
    bench.curate({"s": folder}, split={"eval": 0.1, "by": unit, "stratify": by})
    held = Counter(
        json.loads(row["meta"])["topic"] for row in bench.kept() if row["split"] == "eval"
    )
    assert held == {"a": 6, "b": 2, "c": 1}
    told = json.loads((bench.folder / "dataset" / "split.json").read_text())
    assert told["stratify"] == by
    assert [one["eval"] for one in told["strata"]] == [6, 2, 1]
    assert [one["wanted"] for one in told["strata"]] == [6.0, 2.0, 1.0]


def test_without_stratify_there_is_no_report(bench: Any) -> None:
    bench.curate({"s": bench.source("s", rows("aabb"))}, split={"eval": 0.5})
    assert not (bench.folder / "dataset" / "split.json").exists()
