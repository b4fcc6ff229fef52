"""metrics.json and samples.parquet from what a worker wrote."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_specs.evaluate import Evaluate, JsonValid

from tuneforge.evaluate.report import read_report, write_report

IDS = ["s:4", "s:1", "s:9"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the dataset, the rendering and the worker left."""
    kept = {"id": ["s:1", "s:2", "s:4", "s:9"], "prompt": ["one", "two", "four", "nine"]}
    pq.write_table(pa.table(kept), tmp_path / "kept.parquet")
    rendered = {"record_id": IDS, "reference": ['{"a": 4}', '{"a": 1}', '{"a": 9}']}
    pq.write_table(pa.table(rendered), tmp_path / "eval.parquet")
    return tmp_path


def produced(folder: Path, *models: str) -> Path:
    outputs = {
        "model": ['{"a":4}', '{"a": 2}', "nine"],
        "base": ["x", '{"a": 1}', "y"],
    }
    columns = {"record_id": IDS}
    for model in models:
        columns |= {f"{model}_output": outputs[model], f"{model}_stopped": [True, True, False]}
    pq.write_table(pa.table(columns), folder / "outputs.parquet")
    measured = {
        model: {"loss": 0.5 if model == "model" else 2.0, "unstopped": 1} for model in models
    }
    (folder / "measured.json").write_text(json.dumps(measured))
    return folder


METRICS = Evaluate.model_validate(
    {"model": "m", "dataset": "d", "metrics": ["loss", {"kind": "exact-match", "json": True}]},
    strict=False,
).metrics


def write(folder: Path, out: Path) -> None:
    out.mkdir()
    write_report(out, folder, folder / "eval.parquet", folder / "kept.parquet", METRICS)


def test_both_sides_are_scored_row_by_row(folder: Path) -> None:
    write(produced(folder, "model", "base"), folder / "out")
    report = read_report(folder / "out")
    assert report["rows"] == 3
    assert report["metrics"] == {"loss": 0.5, "exact-match": 0.333333}
    assert report["base"] == {"loss": 2.0, "exact-match": 0.333333}
    assert report["unstopped"] == {"metrics": 1, "base": 1}
    rows = pq.read_table(folder / "out" / "samples.parquet").to_pylist()
    assert [row["record_id"] for row in rows] == IDS
    assert [row["prompt"] for row in rows] == ["four", "one", "nine"]
    assert [row["exact-match"] for row in rows] == [1.0, 0.0, 0.0]
    assert [row["base_exact-match"] for row in rows] == [0.0, 1.0, 0.0]
    assert rows[2]["base_output"] == "y"
    assert rows[2]["stopped"] is False


def test_the_base_measured_alone_is_both_sides(folder: Path) -> None:
    write(produced(folder, "base"), folder / "out")
    report = read_report(folder / "out")
    assert report["metrics"] == report["base"]


def test_equal_outputs_give_equal_bytes(folder: Path) -> None:
    for name in ("one", "two"):
        write(produced(folder, "model", "base"), folder / name)
    for file in ("metrics.json", "samples.parquet"):
        assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes()


def test_loss_alone_needs_no_answers(folder: Path) -> None:
    pq.write_table(pa.table({"record_id": IDS}), folder / "outputs.parquet")
    (folder / "measured.json").write_text(
        json.dumps({"base": {"loss": 1.25}, "model": {"loss": 1}})
    )
    (folder / "out").mkdir()
    metrics = ("loss",)
    write_report(folder / "out", folder, folder / "eval.parquet", folder / "kept.parquet", metrics)
    assert read_report(folder / "out")["metrics"] == {"loss": 1}


def test_keys_change_the_score(folder: Path) -> None:
    (folder / "out").mkdir()
    produced(folder, "model", "base")
    report = write_report(
        folder / "out",
        folder,
        folder / "eval.parquet",
        folder / "kept.parquet",
        (JsonValid(kind="json-valid", keys=("b",)),),
    )
    assert report["metrics"] == {"json-valid": 0.0}


def test_a_merge_is_compared_with_the_model_that_was_trained(folder: Path) -> None:
    from tuneforge.card.evaluation import evaluation_section
    from tuneforge.cli.evaluate import told
    from tuneforge.step import Artifact

    produced(folder, "model", "base")
    file = folder / "measured.json"
    found = {"rows": 16, "tokens": 300, "mean": 0.0123456789, "max": 0.5, "top1": 0.99}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trained": found}))
    out = folder / "out"
    out.mkdir()
    places = (folder / "eval.parquet", folder / "kept.parquet")
    write_report(out, folder, *places, METRICS, "original")
    report = read_report(out)
    assert report["trained"] == found | {"mean": 0.0123457, "onto": "original"}
    text = "merge onto original weights moves logits by 0.0123 on average and 0.5 at most; 99.0% of"
    assert text in told("e", report)
    assert text in evaluation_section({"e": Artifact("evaluate.e", "k", "d", out, {})}, {})
