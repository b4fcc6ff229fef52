"""Clusters of duplicates in SQL, from the command line's library and in one record's story."""

from pathlib import Path
from typing import Any

import pytest
from tuneforge_datastore import sql
from tuneforge_datastore.compare import clusters, explain

TEXT = "the quick brown fox jumps over the lazy dog and runs through the wide green field at night"
OTHER = "an entirely different answer about trains that leave the old station every half hour"


@pytest.fixture
def workspace(bench: Any) -> Path:
    """0 is kept; 1 and 2 are near it; 3 repeats 1 exactly. 4 and 5 are equal; 6 is alone."""
    near = f"{TEXT} today"
    answers = [TEXT, near, f"{TEXT} again", near, OTHER, OTHER, "alone"]
    source = bench.source("src", [{"prompt": "q", "completion": one} for one in answers])
    dedup = {"exact": True, "near": {"threshold": 0.7, "ngram": 3}}
    bench.curate({"src": source}, dedup=dedup)
    bench.curate({"src": source}, dedup={"exact": False}, out="plain")
    made: Path = bench.publish(
        ("source", "src", source),
        ("dataset", "set", bench.folder / "dataset"),
        ("dataset", "plain", bench.folder / "plain"),
    )
    return made


def test_a_cluster_holds_what_repeats_the_kept_record_directly_or_not(workspace: Path) -> None:
    found = sql.query(
        workspace, "SELECT cluster, size, id, verdict, rule, witness FROM duplicates ORDER BY ALL"
    )
    assert found.rows == [
        ("src:0", 4, "src:0", "kept", "", ""),
        ("src:0", 4, "src:1", "dropped", "near-duplicate", "src:0"),
        ("src:0", 4, "src:2", "dropped", "near-duplicate", "src:0"),
        ("src:0", 4, "src:3", "dropped", "exact-duplicate", "src:1"),
        ("src:4", 2, "src:4", "kept", "", ""),
        ("src:4", 2, "src:5", "dropped", "exact-duplicate", "src:4"),
    ]
    assert len(sql.query(workspace, "FROM set_duplicates").rows) == 6
    assert sql.query(workspace, "FROM plain_duplicates").rows == []
    texts = sql.query(workspace, "SELECT completion FROM set_duplicates WHERE id = 'src:5'")
    assert texts.rows == [(OTHER,)]


def test_clusters_come_largest_first_with_the_kept_record_first(workspace: Path) -> None:
    with sql.open_store(workspace) as connection:
        every = [row[2] for row in clusters(connection, "set", limit=0).rows]
        first = [row[2] for row in clusters(connection, "set", limit=1).rows]
        of = [row[2] for row in clusters(connection, "set", record="src:5").rows]
        none = clusters(connection, "set", record="src:6").rows
    assert (every[0], every[-2:], sorted(every[:4])) == (
        "src:0",
        ["src:4", "src:5"],
        ["src:0", "src:1", "src:2", "src:3"],
    )
    assert (first, of, none) == (every[:4], ["src:4", "src:5"], [])


@pytest.mark.parametrize("record", ["src:0", "src:3"])
def test_a_records_story_has_its_whole_cluster(workspace: Path, record: str) -> None:
    with sql.open_store(workspace) as connection:
        found = explain(connection, record)
    members = [row["id"] for row in found["duplicates"]]
    assert (members[0], sorted(members)) == ("src:0", ["src:0", "src:1", "src:2", "src:3"])
    assert found["witnesses"] == []
