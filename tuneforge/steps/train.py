"""A train step: a job for a worker, made from the spec and the artifacts before it."""

import json
from typing import TYPE_CHECKING, Any, Final

from tuneforge_specs.base import BaseCommon
from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.train import Adapter, DpoTrain

if TYPE_CHECKING:
    from pathlib import Path

    from tuneforge.device import Device
    from tuneforge.step import Artifact, StepContext

VERSION: Final = 1


def run(context: "StepContext") -> None:
    """Write ``adapter/`` or ``model/`` with tokenizer and template, and training.json."""
    # Planning imports this module for its VERSION: what only a run needs loads here.
    from tuneforge.device import detect
    from tuneforge.runs import run_job
    from tuneforge.workspace import Workspace

    device = detect()
    memory = predicted(context, device)
    job = job_of(context, device) | {"predicted_bytes": memory.get("total_bytes", 0)}
    run_dir = Workspace(context.workspace).run_path(context.step.id, context.key)
    outcome = run_job(run_dir, job, context.report)
    outcome.copy_to(context.out)
    context.notes["run"] = outcome.summary
    context.notes["backend"] = {"name": job["backend"], "why": job["why"]}
    context.notes["device"] = device.name
    context.notes["memory"] = {
        "predicted": memory,
        "measured_bytes": outcome.summary["peak_memory_bytes"],
    }
    if outcome.oom:
        context.notes["oom"] = list(outcome.oom)


def job_of(context: "StepContext", device: "Device") -> dict[str, Any]:
    """Return all that the worker needs, as plain values."""
    from tuneforge.backend import choose

    train = context.spec.train[context.step.name]
    choice = choose(train.backend, device)
    return {
        "kind": "train",
        "name": context.step.name,
        "method": train.method,
        "seed": context.seed,
        "threads": context.threads,
        "device": device.kind,
        "backend": choice.backend,
        "why": choice.why,
        "render": str(context.inputs["render"].path),
        "base": _base(context.inputs["base"], context.spec.base, device),
        "start": _start(context, train.adapter) if train.start else None,
        "adapter": train.adapter.model_dump(mode="json"),
        "loss": train.loss.model_dump(mode="json") if isinstance(train, DpoTrain) else {},
        "args": train.args.model_dump(mode="json"),
    }


def predicted(context: "StepContext", device: "Device") -> dict[str, int]:
    """Return the peak memory that `plan` told, all of it and what torch itself would count."""
    from tuneforge.fit import UnknownArchitecture, estimate

    config = json.loads((context.inputs["base"].path / "model" / "config.json").read_text())
    rendering = json.loads((context.inputs["render"].path / "rendering.json").read_text())
    train = context.spec.train[context.step.name]
    try:
        told = estimate(
            config, train, context.spec.base, rendering["max_tokens"], device=device.kind
        )
    except UnknownArchitecture:
        return {}
    return {"total_bytes": told.total, "allocated_bytes": told.allocated}


def compute_dtype(base: BaseCommon, device: "Device") -> str:
    """Return the dtype a base computes in; float16 needs a GPU's loss scaling."""
    if base.dtype == "auto":
        return "bfloat16" if device.kind == "cuda" else "float32"
    if base.dtype == "float16" and device.kind != "cuda":
        raise EnvironmentMissing(
            'base.dtype = "float16" trains on CUDA only', 'set base.dtype = "float32" or "auto"'
        )
    return base.dtype


def _base(artifact: "Artifact", base: BaseCommon, device: "Device") -> dict[str, Any]:
    facts = json.loads((artifact.path / "base.json").read_text())
    return {
        "path": str(artifact.path / "model"),
        "id": facts["id"],
        "digest": facts["digest"],
        "quantize": base.quantize,
        "dtype": compute_dtype(base, device),
    }


def _start(context: "StepContext", adapter: Adapter) -> dict[str, str]:
    start, base = context.inputs["start"], context.inputs["base"]
    trained = json.loads((start.path / "training.json").read_text())["base"]
    digest = json.loads((base.path / "base.json").read_text())["digest"]
    if trained["digest"] != digest or trained["quantize"] != context.spec.base.quantize:
        raise UsageError(
            f"train.{context.step.name}.start: {start.step} was trained on another base "
            f"({trained['id']}, {trained['quantize']})",
            "train it again on this base, or start from one that was",
        )
    folder: Path = start.path / ("model" if adapter.kind == "full" else "adapter")
    return {"path": str(folder), "digest": start.digest}
