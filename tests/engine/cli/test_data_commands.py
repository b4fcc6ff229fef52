"""``tuneforge sql`` and ``tuneforge data`` as a user calls them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from tuneforge_datastore.curate import Inputs, Resources, curate
from tuneforge_datastore.ingest.source import ingest
from tuneforge_datastore.render.dataset import render_dataset
from tuneforge_datastore.store import Catalog, CatalogEntry, publish
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.sources import Source

from tuneforge.cli import main

ROWS = [
    {"prompt": "What is red?", "completion": "A colour."},
    {"prompt": "What is red?", "completion": "A colour."},
    {
        "prompt": "What is \x1b[31mblue?",
        "completion": "A colour, and a mood; also a very long one.",
    },
    {"prompt": "Empty?", "completion": ""},
]


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|im_start|>", "<|im_end|>"]
    vocabulary = {token: place for place, token in enumerate([*specials, *alphabet])}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(specials)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in the current folder, with a source, two datasets and a rendering."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".tuneforge"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    adapter: TypeAdapter[Any] = TypeAdapter(Source)
    source = place / "artifacts" / "source" / "src" / "1"
    ingest("src", adapter.validate_python({"path": "rows.jsonl"}), tmp_path, source)
    folders = {"source.src": source}
    for name, filters in (("mine", [{"kind": "empty"}]), ("loose", [])):
        spec = Dataset.model_validate(
            {"from": [{"source": "src"}], "filters": filters, "split": {"eval": 0.0}}
        )
        folder = place / "artifacts" / "dataset" / name / "abc123"
        inputs = Inputs({"src": source})
        curate(name, spec, inputs, folder, Resources(tmp_path / "tmp"), seed=1)
        folders[f"dataset.{name}"] = folder
    base = place / "artifacts" / "base" / "base" / "2"
    tokenizer(base / "model")
    rendering = place / "artifacts" / "render" / "mine" / "3"
    rendering.mkdir(parents=True)
    template = spec.template.model_copy(update={"max_tokens": 70, "overflow": "truncate"})
    kept = folders["dataset.mine"] / "kept.parquet"
    render_dataset(kept, base / "model", template, directory=tmp_path, out=rendering)
    params = {f"datasets.mine.template.{key}": value for key, value in template}
    (rendering / "manifest.json").write_text(json.dumps({"params": params}))
    folders |= {"base": base, "render.mine": rendering}
    entries = [
        CatalogEntry(step, *(step.split(".") * 2)[:2], "k", "d", folder, 1e9, 1.0)
        for step, folder in folders.items()
    ]
    publish(place, Catalog(tuple(entries)))
    return place


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_sql_in_every_form(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT id, prompt, [1, 2] AS list, NULL AS none FROM records ORDER BY id"
    code, out, _ = run(capsys, "sql", query)
    assert code == 0
    assert out.splitlines()[0].split() == ["id", "prompt", "list", "none"]
    assert "\x1b" not in out
    _, out, _ = run(capsys, "sql", query, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in ROWS]
    assert (rows[0]["list"], rows[0]["none"]) == ("[1, 2]", "")
    _, out, _ = run(capsys, "sql", query, "--format", "json")
    expected = {"id": "src:0", "prompt": "What is red?", "list": [1, 2], "none": None}
    assert json.loads(out)[0] == expected
    _, out, _ = run(capsys, "sql", query, "--format", "jsonl")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [f"src:{n}" for n in range(4)]
    run(capsys, "sql", query, "--format", "parquet", "--out", "rows.parquet")
    assert pq.read_table("rows.parquet").num_rows == 4
    _, out, err = run(capsys, "sql", query, "--limit", "2")
    assert len(out.splitlines()) == 4
    assert "2 rows shown" in err


def test_sql_that_fails(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "sql", "SELECT promt FROM records")
    assert (code, 'Candidate bindings: "prompt"' in err) == (2, True)
    code, _, err = run(capsys, "sql", "SELECT 1", "--workspace", "elsewhere")
    assert (code, "no store here yet" in err) == (3, True)
    code, _, err = run(capsys, "sql", "SELECT 1", "--format", "parquet")
    assert (code, "--out" in err) == (2, True)


def test_ingest_says_what_it_understood(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "data", "ingest", "rows.jsonl")
    assert code == 0
    assert "rows.jsonl: 4 records as completion (columns prompt, completion)" in out
    _, out, _ = run(capsys, "data", "ingest", "rows.jsonl", "--json", "--limit", "1")
    assert json.loads(out)["kinds"] == {"instruction": 1}
    words = ["--column", "prompt=completion", "--column", "completion=prompt", "--out", "kept"]
    run(capsys, "data", "ingest", "rows.jsonl", *words)
    assert pq.read_table("kept/records.parquet").column("prompt")[0].as_py() == "A colour."
    code, _, err = run(capsys, "data", "ingest", "rows.jsonl", "--format", "alpacca")
    assert (code, "format" in err) == (2, True)
    code, _, err = run(capsys, "data", "ingest", "missing.jsonl")
    assert (code, "no such file" in err) == (3, True)


def test_funnel(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "funnel", "mine")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["filters[0]", "empty", "-1"],
        ["dedup.exact", "exact-duplicate", "-1"],
    ]
    _, out, _ = run(capsys, "data", "funnel", "mine", "--json")
    assert json.loads(out)[-1]["out"] == 2
    code, _, err = run(capsys, "data", "funnel", "your")
    assert (code, "it has loose, mine" in err) == (2, True)


def test_preview_marks_trained_masked_and_cut(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "data", "preview", "mine", "--row", "src:0")
    assert code == 0
    assert "⟦A colour.<|im_end|>⟧" in out
    assert "<|im_start|>user" in out
    _, out, _ = run(capsys, "data", "preview", "mine", "--row", "src:2", "--json")
    shown = json.loads(out)
    runs = shown["sequences"]["record"]
    assert shown["verdict"] == "truncated"
    assert [run["state"] for run in runs][-1] == "cut"
    assert sum(run["tokens"] for run in runs if run["state"] != "cut") == 70
    text = "".join(run["text"] for run in runs)
    assert "also a very long one.<|im_end|>" in text
    _, out, _ = run(capsys, "data", "preview", "mine", "--row", "src:2")
    assert "\x1b" not in out
    code, _, err = run(capsys, "data", "preview", "mine", "--row", "src:99")
    assert (code, "no record src:99" in err) == (3, True)


def test_diff(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "diff", "mine@abc", "loose")
    assert code == 0
    assert (
        "in both 2 (0 on the other side of the split), only in mine@abc 0, only in loose 1" in out
    )
    assert "src:3" in out
    _, out, _ = run(capsys, "data", "diff", "mine", "loose", "--json")
    assert json.loads(out)["gained"]["rows"][0][3:] == ["empty", "the completion is empty"]
    code, _, err = run(capsys, "data", "diff", "mine@zzz", "loose")
    assert (code, "the keys are abc123" in err) == (2, True)


def test_duplicates(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "duplicates", "mine")
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()[2:]] == [
        ["src:0", "2", "src:0", "kept"],
        ["src:0", "2", "src:1", "dropped"],
    ]
    _, out, _ = run(capsys, "data", "duplicates", "mine", "--of", "src:1", "--json")
    assert [row["id"] for row in json.loads(out)] == ["src:0", "src:1"]
    _, out, _ = run(capsys, "data", "duplicates", "mine", "--of", "src:2")
    assert "src:2 is in no cluster" in out
    code, _, err = run(capsys, "data", "duplicates", "min")
    assert (code, "it has loose, mine" in err) == (2, True)


def test_a_moved_project_reads_on(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = workspace.parent.with_name("moved project")
    workspace.parent.rename(new)
    place = ("--workspace", str(new / ".tuneforge"))
    code, out, err = run(capsys, "sql", "SELECT count(*) AS n FROM records", *place)
    assert (code, out.split()[-1], err) == (0, "4", "")
    code, out, _ = run(capsys, "data", "funnel", "mine", *place)
    assert (code, "exact-duplicate" in out) == (0, True)


def test_explain(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "explain", "src:1")
    assert code == 0
    assert "exact-duplicate" in out
    assert "src:0" in out
    _, out, _ = run(capsys, "data", "explain", "src:2", "--json")
    found = json.loads(out)
    assert [row["verdict"] for row in found["verdicts"]] == ["kept", "kept"]
    assert found["renderings"][0]["verdict"] == "truncated"
    code, _, err = run(capsys, "data", "explain", "src:77")
    assert (code, "no record src:77" in err) == (2, True)
