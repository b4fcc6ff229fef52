"""The store: its surface, its names, and that readers and killed writers do it no harm."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tuneforge_datastore import holder, sql, store
from tuneforge_datastore.store import STORE, Catalog, publish, view_titles
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError

COLUMNS = {
    "artifacts": "step kind name key digest path created seconds",
    "records": "id source file line kind system messages chosen rejected label text tools meta "
    "prompt completion content_hash",
    "ledger": "dataset id source verdict stage rule reason score witness evidence",
    "changes": "dataset id source field rule before after",
    "duplicates": "dataset cluster size id verdict rule score witness source file line prompt "
    "completion",
    "datasets": "name kind records kept dropped train eval key digest path created",
    "renderings": "dataset record_id split verdict reason n_tokens n_supervised",
    "runs": "step key state kind backend device started last_event seconds steps_done steps loss "
    "eval_loss memory_bytes error",
    "metrics": "run key phase time step loss learning_rate grad_norm tokens tokens_per_second "
    "memory_bytes fields",
    "events": "step key number event time fields",
}


@pytest.fixture
def filled(bench: Any) -> Path:
    """A workspace with one source and one dataset, called instruct."""
    rows = [{"prompt": f"p{n}", "completion": "one two three " * n, "topic": "x"} for n in range(9)]
    source = bench.source("src", [*rows, rows[3]])
    bench.curate({"src": source}, filters=[{"kind": "length", "min": 2}], split={"eval": 0.3})
    workspace: Path = bench.publish(
        ("source", "src", source), ("dataset", "instruct", bench.folder / "dataset")
    )
    return workspace


def column_names(workspace: Path, view: str) -> str:
    return " ".join(sql.query(workspace, f"FROM {view} LIMIT 0").columns)


def test_the_surface_is_there_with_nothing_in_it(tmp_path: Path) -> None:
    publish(tmp_path, Catalog(()))
    assert {view: column_names(tmp_path, view) for view in COLUMNS} == COLUMNS
    assert all(sql.query(tmp_path, f"FROM {view}").rows == [] for view in COLUMNS)


def test_the_surface_is_the_same_with_data_in_it(filled: Path) -> None:
    assert {view: column_names(filled, view) for view in COLUMNS} == COLUMNS
    counts = {
        view: sql.query(filled, f"SELECT count(*) FROM {view}").rows[0][0]
        for view in (
            "records",
            "ledger",
            "instruct",
            "instruct_dropped",
            "instruct_duplicates",
            "instruct_funnel",
        )
    }
    assert counts == {
        "records": 10,
        "ledger": 10,
        "instruct": 8,
        "instruct_dropped": 2,
        "instruct_duplicates": 2,
        "instruct_funnel": 3,
    }
    (row,) = sql.query(filled, "SELECT records, kept, dropped, train + eval FROM datasets").rows
    assert row == (10, 8, 2, 8)
    dropped = sql.query(filled, "SELECT rule, prompt, witness FROM instruct_dropped ORDER BY id")
    assert dropped.rows == [("length", "p0", ""), ("exact-duplicate", "p3", "src:3")]


def test_any_duckdb_client_can_open_it(filled: Path) -> None:
    with duckdb.connect(filled / STORE, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (10,)


def write_log(workspace: Path, step: str, *events: dict[str, Any], torn: str = "") -> None:
    log = workspace / "runs" / step / "abc" / "events.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps({"v": 1, **event}) + "\n" for event in events) + torn)


def test_runs_and_metrics_are_read_as_they_are_written(filled: Path) -> None:
    started = {"t": 10.0, "event": "started", "kind": "train", "backend": "trl", "device": "cpu"}
    step = {"t": 11.5, "event": "step", "step": 1, "steps": 4, "loss": 2.5, "learning_rate": 1e-3}
    write_log(filled, "train.a", started, step, torn='{"v":1,"t":12,"ev')
    question = "SELECT step, state, backend, steps_done, steps, loss, seconds FROM runs"
    assert sql.query(filled, question).rows == [("train.a", "unfinished", "trl", 1, 4, 2.5, 1.5)]
    evaluated = {"t": 13.0, "event": "eval", "step": 4, "loss": 1.5}
    write_log(filled, "train.a", started, step, evaluated, {"t": 14.0, "event": "done"})
    write_log(filled, "train.b", started, {"t": 11.0, "event": "failed", "message": "no memory"})
    assert sql.query(
        filled, "SELECT step, state, eval_loss, error FROM runs ORDER BY step"
    ).rows == [
        ("train.a", "done", 1.5, None),
        ("train.b", "failed", None, "no memory"),
    ]
    points = sql.query(filled, "SELECT run, phase, step, loss FROM metrics").rows
    assert points == [("train.a", "step", 1, 2.5), ("train.a", "eval", 4, 1.5)]


@pytest.mark.parametrize(
    "name", ["it's", "a b", "[x]", 'quo"te', "star*", "ünï", "; DROP TABLE artifacts"]
)
def test_folders_and_names_of_every_kind(bench: Any, name: str) -> None:
    bench.folder = bench.folder / name
    source = bench.source("src", [{"prompt": "p", "completion": "c"}])
    bench.curate({"src": source})
    folder = bench.folder / "dataset"
    workspace = bench.publish(("source", "src", source), ("dataset", name, folder))
    write_log(workspace, "train.a", {"t": 1.0, "event": "started"})
    quoted = '"' + name.replace('"', '""') + '"'
    assert sql.query(workspace, f"SELECT count(*) FROM {quoted}").rows == [(1,)]
    assert sql.query(workspace, "SELECT dataset FROM ledger").rows == [(name,)]
    assert sql.query(workspace, "SELECT step FROM runs").rows == [("train.a",)]


def test_names_that_are_taken() -> None:
    names = ("a", "records", "a_dropped", "A", "funnel")
    assert view_titles(names) == {
        "a": "a",
        "records": "dataset_records",
        "a_dropped": "dataset_a_dropped",
        "A": "dataset_dataset_A",
        "funnel": "funnel",
    }


@pytest.mark.parametrize(
    ("query", "kind", "message"),
    [
        ("SELEC 1", UsageError, "syntax error"),
        ("FROM nothing", UsageError, "nothing"),
        ("SELECT promt FROM records", UsageError, 'Candidate bindings: "prompt"'),
        ("CREATE TABLE x (a INT)", UsageError, "read-only"),
        ("DROP VIEW records", UsageError, "read-only"),
        ("SELECT 'x'::INT", DataError, "Could not convert"),
    ],
)
def test_queries_that_fail(filled: Path, query: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        sql.query(filled, query)


def test_no_store_and_no_database(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store here yet"):
        sql.query(tmp_path, "SELECT 1")
    (tmp_path / STORE).write_bytes(b"this is not a database, but it is long enough" * 99)
    with pytest.raises(EnvironmentMissing, match="cannot be opened"):
        sql.query(tmp_path, "SELECT 1")
    publish(tmp_path, Catalog(()))
    assert sql.query(tmp_path, "SELECT 1").rows == [(1,)]


_HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE mine AS SELECT 1")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def held(filled: Path) -> Any:
    """The store, opened for writing by another process."""
    command = [sys.executable, "-c", _HOLD, str(filled / STORE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_reader_is_told_who_has_the_store(filled: Path, held: Any) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(EnvironmentMissing, match=rf"process {held.pid} \(.*python"),
        sql.open_store(filled, wait=0.3),
    ):
        pass
    assert 0.2 < time.monotonic() - begun < 5


def test_a_publisher_waits_for_a_writer_and_says_who(
    filled: Path, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "wait_for_writer", lambda path: holder.wait_for_writer(path, 0.3))
    with pytest.raises(EnvironmentMissing, match=f"process {held.pid} "):
        publish(filled, Catalog(()))
    held.send_signal(signal.SIGKILL)
    held.wait()
    # The log that the dead writer left belongs to the file that is replaced.
    publish(filled, Catalog(()))
    assert sql.query(filled, "SELECT count(*) FROM artifacts").rows == [(0,)]
    assert not (filled / f"{STORE}.wal").exists()


def test_a_reader_that_came_before_a_publish_reads_on(filled: Path) -> None:
    with sql.open_store(filled) as connection:
        publish(filled, Catalog(()))
        assert sql.ask(connection, "SELECT count(*) FROM records").rows == [(10,)]
    assert sql.query(filled, "SELECT count(*) FROM records").rows == [(0,)]


_PUBLISH = """
import sys
from pathlib import Path
from tuneforge_datastore.store import Catalog, CatalogEntry, publish
folder = Path(sys.argv[1])
entries = [CatalogEntry(f"base.{n}", "base", str(n), "k", "d", folder, 1.0, 1.0) for n in range(7)]
print("ready", flush=True)
while True:
    publish(folder, Catalog(tuple(entries)))
    publish(folder, Catalog(()))
"""


def start_publisher(workspace: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _PUBLISH, str(workspace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_readers_see_whole_stores_while_others_publish(tmp_path: Path) -> None:
    publish(tmp_path, Catalog(()))
    writers = [start_publisher(tmp_path) for _ in range(2)]
    try:
        seen = set()
        until = time.monotonic() + 6
        while time.monotonic() < until:
            seen.add(sql.query(tmp_path, "SELECT count(*) FROM artifacts").rows[0][0])
            column_names(tmp_path, "metrics")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert seen == {0, 7}


@pytest.mark.parametrize("moment", [0.05, 0.11, 0.17, 0.23, 0.31])
def test_a_killed_publish_leaves_a_whole_store(filled: Path, moment: float) -> None:
    writer = start_publisher(filled)
    time.sleep(moment)
    writer.kill()
    writer.communicate()
    assert sql.query(filled, "SELECT count(*) FROM artifacts").rows[0][0] in (0, 2, 7)
    publish(filled, Catalog(()))
    assert sql.query(filled, "SELECT count(*) FROM artifacts").rows == [(0,)]
    assert list((filled / "tmp").glob("store-*")) == []


def test_a_workspace_that_cannot_be_written(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnvironmentMissing, match="No space left on device"):
        publish(filled, Catalog(()))
    monkeypatch.undo()
    assert sql.query(filled, "SELECT count(*) FROM records").rows == [(10,)]


def test_every_query_of_the_documentation_runs(filled: Path, repository: Path) -> None:
    write_log(filled, "train.a", {"t": 1.0, "event": "step", "step": 1, "loss": 0.5})
    text = (repository / "docs" / "sql.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) >= 15
    for query in queries:
        assert sql.query(filled, query).columns
    # Each view is described with each of its columns.
    for view, columns in COLUMNS.items():
        section = text.split(f"## {view}\n")[1].split("\n## ")[0]
        assert all(f"`{column}`" in section for column in columns.split()), view
