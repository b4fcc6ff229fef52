"""From what a worker generated to metrics.json and samples.parquet. The same for equal outputs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from tuneforge_specs.evaluate import Metric
from tuneforge_specs.gates import metric_name

from tuneforge.evaluate.metrics import LOSS, scorer

METRICS_FILE: Final = "metrics.json"
SAMPLES_FILE: Final = "samples.parquet"
# side of the report -> prefix of its columns in samples.parquet
SIDES: Final = {"metrics": "", "base": "base_"}


def write_report(
    out: Path,
    produced: Path,
    rendered: Path,
    kept: Path,
    metrics: Sequence[Metric],
    onto: str = "",
) -> dict[str, Any]:
    """Score the worker's outputs, write both files, and return the content of metrics.json.

    ``produced`` is the worker's folder, ``rendered`` the rendering's eval.parquet, ``kept`` the
    dataset's kept.parquet. Where the model is the base itself, both sides say the same. ``onto``
    says which base weights a merge went onto that is compared with the model that was trained.
    """
    measured = json.loads((produced / "measured.json").read_text())
    models = {"metrics": "model" if "model" in measured else "base", "base": "base"}
    outputs = pq.read_table(produced / "outputs.parquet").to_pydict()
    columns = samples(outputs, rendered, kept, models)
    values: dict[str, dict[str, float]] = {side: {} for side in SIDES}
    for metric in metrics:
        name = metric_name(metric)
        for side, prefix in SIDES.items():
            if metric == LOSS:
                values[side][name] = round(measured[models[side]]["loss"], 6)
                continue
            score = scorer(metric)
            pairs = zip(columns[f"{prefix}output"], columns["reference"], strict=True)
            scores = [score(output, reference) for output, reference in pairs]
            columns[f"{prefix}{name}"] = scores
            values[side][name] = round(sum(scores) / len(scores), 6)
    report = {
        "v": 1,
        "rows": len(columns["record_id"]),
        **values,
        "unstopped": {side: measured[model].get("unstopped", 0) for side, model in models.items()},
    }
    if "trained" in measured:
        report["trained"] = {"onto": onto} | _rounded(measured["trained"])
    pq.write_table(pa.table(columns), out / SAMPLES_FILE, compression="zstd")
    text = json.dumps(report, indent=1, sort_keys=True)
    (out / METRICS_FILE).write_text(text + "\n", encoding="utf-8")
    return report


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in values.items()}


def read_report(folder: Path) -> dict[str, Any]:
    """Read the metrics.json of an evaluation."""
    found: dict[str, Any] = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    return found


def samples(
    outputs: dict[str, list[Any]], rendered: Path, kept: Path, models: dict[str, str]
) -> dict[str, list[Any]]:
    """Return the columns of samples.parquet before scoring: a row for each held-out record."""
    ids = outputs["record_id"]
    prompts = _by_id(kept, "id", "prompt")
    columns: dict[str, list[Any]] = {
        "record_id": ids,
        "prompt": [prompts.get(record, "") for record in ids],
    }
    if "base_output" not in outputs:
        return columns
    references = _by_id(rendered, "record_id", "reference")
    columns["reference"] = [references[record] or "" for record in ids]
    for side, prefix in sorted(SIDES.items()):
        columns[f"{prefix}output"] = outputs[f"{models[side]}_output"]
        columns[f"{prefix}stopped"] = outputs[f"{models[side]}_stopped"]
    return columns


def _by_id(file: Path, key: str, value: str) -> dict[str, Any]:
    def pairs() -> Iterator[tuple[str, Any]]:
        for batch in pq.ParquetFile(file).iter_batches(columns=[key, value]):
            columns = batch.to_pydict()
            yield from zip(columns[key], columns[value], strict=True)

    return dict(pairs())
