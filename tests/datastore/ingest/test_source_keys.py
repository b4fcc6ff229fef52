"""Each key of a source changes what is read, and its errors say what to do."""

import json
import sys
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError
from tuneforge_datastore.ingest.source import ingest
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError
from tuneforge_specs.sources import Source

GOOD = {"prompt": "a", "completion": "b"}


def test_on_error_ends_or_counts(bench: Any) -> None:
    text = json.dumps(GOOD) + '\n{"prompt": \n' + json.dumps({"prompt": "x"}) + "\n"
    bench.file("rows.jsonl", text + json.dumps(GOOD) + "\n")
    with pytest.raises(DataError) as caught:
        bench.ingest()
    assert caught.value.message.startswith("rows.jsonl:2: broken JSON")
    assert caught.value.exit_code == 3
    folder = bench.ingest(on_error="skip")
    records = pq.read_table(folder / "records.parquet").to_pylist()
    assert [(row["id"], row["line"]) for row in records] == [("src:0", 1), ("src:3", 4)]
    rejects = pq.read_table(folder / "rejects.parquet").to_pylist()
    assert [(row["id"], row["line"]) for row in rejects] == [("src:1", 2), ("src:2", 3)]
    assert rejects[0]["raw"] == '{"prompt": '
    assert "column 'completion' is missing" in rejects[1]["reason"]
    told = json.loads((folder / "source.json").read_text())
    assert (told["records"], told["rejected"], told["kinds"]) == (2, 2, {"instruction": 2})


def test_limit_reads_so_many_rows(bench: Any) -> None:
    bench.file("rows.jsonl", [{**GOOD, "n": n} for n in range(9)])
    bench.file("second.jsonl", [GOOD])
    assert len(bench.records(limit=4)) == 4
    assert len(bench.records(["rows.jsonl", "second.jsonl"], limit=10)) == 10
    assert len(bench.records(["rows.jsonl", "second.jsonl"])) == 10


def test_sql_reads_files_by_relative_name(bench: Any) -> None:
    bench.file("data/rows.jsonl", [{"q": "a", "a": "b", "n": n} for n in range(5)])
    sql = "SELECT q AS prompt, a AS completion, n FROM 'data/rows.jsonl' WHERE n > 2"
    found = bench.records(sql=sql)
    assert [json.loads(row["meta"])["n"] for row in found] == [3, 4]
    assert [(row["file"], row["line"]) for row in found] == [("sql", 1), ("sql", 2)]


@pytest.mark.parametrize(
    ("sql", "kind", "message"),
    [
        ("SELEC 1", UsageError, "syntax error"),
        ("SELECT 1; SELECT 2", UsageError, "one SELECT"),
        ("CREATE TABLE x AS SELECT 1", UsageError, "one SELECT"),
        ("COPY (SELECT 1) TO 'written.csv'", UsageError, "one SELECT"),
        ("SELECT promt FROM 'rows.jsonl'", UsageError, 'column "promt" not found'),
        ("SELECT * FROM 'nothing.jsonl'", DataError, "nothing.jsonl"),
        ("SELECT prompt::INT AS prompt, 'x' AS completion FROM 'rows.jsonl'", DataError, "convert"),
    ],
)
def test_sql_that_cannot_be_run(bench: Any, sql: str, kind: type[Exception], message: str) -> None:
    bench.file("rows.jsonl", [GOOD])
    with pytest.raises(kind, match="(?i)" + message):
        bench.records(sql=sql)
    assert not (bench.folder / "written.csv").exists()


def test_a_dataset_saved_to_disk(bench: Any) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list([{**GOOD, "n": n} for n in range(3)])
    made.save_to_disk(bench.folder / "saved")
    both = datasets.DatasetDict({"train": made, "test": made.select([0])})
    both.save_to_disk(bench.folder / "both")
    assert len(bench.records(hf="saved")) == 3
    assert len(bench.records(hf="both")) == 3
    assert len(bench.records(hf="both", split="test")) == 1
    with pytest.raises(DataError) as caught:
        bench.records(hf="both", split="validation")
    assert "the splits are train, test" in caught.value.fix


def test_a_hub_dataset_goes_through_the_library(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    asked = {}

    def load(name: str, subset: str | None, **keys: Any) -> list[dict[str, str]]:
        asked.update(keys, name=name, subset=subset)
        return [GOOD]

    monkeypatch.setattr(datasets, "load_dataset", load)
    bench.records(hf="org/name", subset="part", split="test", revision="abc")
    assert asked == {
        "name": "org/name",
        "subset": "part",
        "split": "test",
        "revision": "abc",
        "streaming": True,
    }


def test_a_missing_package_names_the_command(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EnvironmentMissing) as caught:
        bench.records(hf="org/name")
    assert caught.value.exit_code == 6
    assert caught.value.fix == "pip install 'tuneforge[train]'"


def test_every_key_of_a_source_is_read() -> None:
    # Where each key is shown to change something; a key added here needs its own line.
    shown = {
        "path": "test_readers",
        "hf": "test_a_dataset_saved_to_disk",
        "subset": "test_a_hub_dataset_goes_through_the_library",
        "split": "test_a_dataset_saved_to_disk",
        "revision": "test_a_hub_dataset_goes_through_the_library",
        "sql": "test_sql_reads_files_by_relative_name",
        "format": "test_formats",
        "columns": "test_custom_columns",
        "pairs": "test_pairs_as_judged_answers",
        "license": "the model card's tests",
        "on_error": "test_on_error_ends_or_counts",
        "limit": "test_limit_reads_so_many_rows",
    }
    adapter: TypeAdapter[Any] = TypeAdapter(Source)
    models = [adapter.validate_python({key: "x"}) for key in ("path", "hf", "sql")]
    assert {name for model in models for name in type(model).model_fields} == set(shown)
    with pytest.raises(ValidationError):
        adapter.validate_python({"path": "x", "formt": "auto"})


def test_the_bytes_depend_on_the_rows_alone(bench: Any) -> None:
    bench.file("rows.jsonl", [{**GOOD, "n": n} for n in range(20_000)])
    digests = set()
    for name in ("one", "two"):
        out = bench.folder / name
        adapter: TypeAdapter[Any] = TypeAdapter(Source)
        ingest("src", adapter.validate_python({"path": "rows.jsonl"}), bench.folder, out)
        digests.add((out / "records.parquet").read_bytes())
    assert len(digests) == 1
    assert pq.read_metadata(out / "records.parquet").num_row_groups == 3
