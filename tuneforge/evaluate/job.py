"""From an evaluation of the spec to a worker's job: which models, which rows, what is measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneforge_specs.base import BaseCommon
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.evaluate import Evaluate

from tuneforge.device import Device
from tuneforge.evaluate.metrics import LOSS
from tuneforge.step import Artifact
from tuneforge.steps.train import compute_dtype


def job_of(
    name: str,
    evaluation: Evaluate,
    base: BaseCommon,
    inputs: Mapping[str, Artifact],
    device: Device,
    trained: Path | None = None,
) -> dict[str, Any]:
    """Return all that the worker needs; raise where the held-out rows cannot be measured so.

    ``trained`` is an adapter trained on NF4 that the model, a merge, is compared with.
    """
    where = f"evaluate.{name}"
    rendering = json.loads((inputs["render"].path / "rendering.json").read_text())
    generates = any(metric != LOSS for metric in evaluation.metrics)
    _check_mode(where, rendering["mode"], generates=generates)
    if not rendering["counts"].get("eval"):
        raise DataError(
            f"{where}: the dataset {evaluation.dataset} holds nothing out",
            f"set datasets.{evaluation.dataset}.split.eval above 0",
        )
    compared = {}
    if trained is not None:
        on_nf4 = describe(inputs["base"].path / "model", compute_dtype(base, device))
        compared["trained"] = on_nf4 | {"adapter": str(trained), "quantize": "nf4"}
    return {
        "kind": "generate",
        **compared,
        "device": device.kind,
        "models": models_of(inputs["model"], inputs["base"], base, device),
        "rows_file": str(inputs["render"].path / "eval.parquet"),
        "rows": evaluation.rows,
        "batch": evaluation.batch,
        "max_new_tokens": evaluation.max_new_tokens,
        "pad": rendering["pad"],
        "terminators": rendering["terminators"],
        "loss": LOSS in evaluation.metrics,
        "generate": generates,
    }


def _check_mode(where: str, mode: str, *, generates: bool) -> None:
    if mode == "sft" or (mode == "text" and not generates):
        return
    fix = "name a dataset of instructions" if mode != "text" else 'measure "loss" only'
    raise UsageError(f"{where}.dataset: {mode} records have no answers to compare with", fix)


def models_of(
    model: Artifact, base: Artifact, settings: BaseCommon, device: Device
) -> dict[str, dict[str, Any]]:
    """Describe the model and its base as the worker loads them.

    Full weights are measured beside the base in the same precision; an adapter beside the
    (quantised) base it sits on.
    """
    dtype = compute_dtype(settings, device)
    folder = base.path / "model"
    adapter = model.path / "adapter"
    described = describe(folder, dtype)
    if adapter.is_dir():
        described["quantize"] = belongs_on(model.path, settings.quantize)
        tuned = described | {"adapter": str(adapter), "tokenizer": str(adapter)}
    else:
        tuned = describe(model.path / "model", dtype)
    return {"base": described} if model.step == "base" else {"base": described, "model": tuned}


def belongs_on(artifact: Path, quantize: str) -> str:
    """Return how the base is held that an adapter belongs on.

    A merge has chosen that for the adapter it made; a train step follows the spec's ``quantize``.
    """
    merge = artifact / "merge.json"
    if merge.is_file():
        return str(json.loads(merge.read_text("utf-8"))["base"]["quantize"])
    return quantize


def describe(folder: Path, dtype: str) -> dict[str, Any]:
    """Describe full weights in a folder."""
    return {
        "path": str(folder),
        "tokenizer": str(folder),
        "adapter": "",
        "quantize": "none",
        "dtype": dtype,
    }
