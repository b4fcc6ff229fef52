"""Two curations side by side: what came, what went, and by which rule."""

from typing import Any

import pytest
from tuneforge_datastore.compare import diff


@pytest.fixture
def source(bench: Any) -> Any:
    answers = ["one", "two words", "two words", "two words", "three of them", "four words of it"]
    return bench.source("src", [{"prompt": "q", "completion": one} for one in answers])


def test_records_that_came_and_went_with_the_rule_that_took_them(bench: Any, source: Any) -> None:
    for out, least, most in (("a", 2, 9), ("b", 1, 3)):
        limits = {"kind": "length", "min": least, "max": most}
        bench.curate({"src": source}, out=out, filters=[limits])
    found = diff(bench.folder / "a", bench.folder / "b")
    assert (found.both, found.only_a, found.only_b, found.moved) == (2, 1, 1, 0)
    assert [row[:1] + row[3:4] for row in found.lost.rows] == [("src:5", "length")]
    assert found.gained.rows == [
        ("src:0", "q", "one", "length", "completion of 1 words: fewer than the least, 2")
    ]
    assert ("filters[0]", "length", 1, 1, 0) in found.rules.rows


def test_equal_records_count_one_by_one(bench: Any, source: Any) -> None:
    for out, exact in (("a", False), ("b", True)):
        bench.curate({"src": source}, out=out, dedup={"exact": exact})
    same = diff(bench.folder / "a", bench.folder / "a")
    assert (same.both, same.only_a, same.only_b) == (6, 0, 0)
    found = diff(bench.folder / "a", bench.folder / "b")
    assert (found.both, found.only_a, found.only_b) == (4, 2, 0)
    assert [row[3] for row in found.lost.rows] == ["exact-duplicate", "exact-duplicate"]
    assert len(diff(bench.folder / "a", bench.folder / "b", limit=1).lost.rows) == 1


def test_records_that_changed_sides(bench: Any, source: Any) -> None:
    for out, share in (("a", 0.0), ("b", 0.5)):
        split = {"eval": share, "by": "record"}
        made = bench.curate({"src": source}, out=out, split=split)
    assert diff(bench.folder / "a", bench.folder / "b").moved == made.eval > 0
