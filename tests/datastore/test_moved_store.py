"""A workspace that is moved, copied, linked to or half lost: its store opens and shows its data."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tuneforge_datastore import moved, sql
from tuneforge_datastore.store import STORE, Catalog, CatalogEntry, publish
from tuneforge_specs.errors import EnvironmentMissing

COUNT = "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM mine)"


@pytest.fixture
def workspace(bench: Any) -> Path:
    """A workspace that holds its artifacts, as a build leaves it."""
    place: Path = bench.folder / "here" / "workspace"
    bench.curate(
        {"src": bench.source("src", [{"prompt": f"p{n}", "completion": "c"} for n in "ab"])}
    )
    for made, name in (("ingested/src", "source"), ("dataset", "dataset")):
        shutil.copytree(bench.folder / made, place / "artifacts" / name)
    entries = [
        CatalogEntry(f"{kind}.{name}", kind, name, "k", "d", place / "artifacts" / kind, 1e9, 1.5)
        for kind, name in (("source", "src"), ("dataset", "mine"))
    ]
    publish(place, Catalog(tuple(entries)))
    return place


def paths(workspace: Path) -> set[Path]:
    return {Path(path) for (path,) in sql.query(workspace, "SELECT path FROM artifacts").rows}


def test_a_moved_workspace_opens(workspace: Path) -> None:
    before = sql.query(workspace, "SELECT * EXCLUDE (path) FROM artifacts ORDER BY step").rows
    new = workspace.parent.parent / "it's there"
    workspace.parent.rename(new)
    moved_to = new / "workspace"
    with pytest.raises(duckdb.Error), duckdb.connect(moved_to / STORE, read_only=True) as store:
        store.execute("FROM records")
    assert sql.query(moved_to, COUNT).rows == [(2, 2)]
    assert paths(moved_to) == {moved_to / "artifacts/source", moved_to / "artifacts/dataset"}
    after = sql.query(moved_to, "SELECT * EXCLUDE (path) FROM artifacts ORDER BY step").rows
    assert after == before
    # From then on any client reads it.
    with duckdb.connect(moved_to / STORE, read_only=True) as store:
        assert store.execute(COUNT).fetchall() == [(2, 2)]


def test_a_copy_reads_its_own_files(workspace: Path) -> None:
    copy = workspace.with_name("copy")
    shutil.copytree(workspace, copy)
    assert sql.query(copy, COUNT).rows == [(2, 2)]
    assert all(path.is_relative_to(copy) for path in paths(copy))
    assert all(path.is_relative_to(workspace) for path in paths(workspace))


def test_another_name_of_the_same_folder_is_no_move(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = workspace.with_name("link")
    link.symlink_to(workspace, target_is_directory=True)
    monkeypatch.setattr(moved, "publish", None)  # would raise if it were called
    assert sql.query(link, COUNT).rows == [(2, 2)]


def test_what_was_left_behind_is_not_shown(workspace: Path) -> None:
    new = workspace.rename(workspace.with_name("new"))
    shutil.rmtree(new / "artifacts" / "dataset")
    assert sql.query(new, "SELECT step FROM artifacts").rows == [("source.src",)]
    assert sql.query(new, "SELECT count(*) FROM records").rows == [(2,)]


def test_a_moved_workspace_that_cannot_be_written_is_read_all_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise EnvironmentMissing("read-only", "")

    new = workspace.rename(workspace.with_name("new"))
    kept = (new / STORE).read_bytes()
    monkeypatch.setattr(moved, "publish", refused)
    assert sql.query(new, COUNT).rows == [(2, 2)]
    assert (new / STORE).read_bytes() == kept
