"""The held-out scores that decide about the inputs of a greedy soup, from a worker."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge_specs.merge import GreedySoupMerge

from tuneforge.device import detect
from tuneforge.evaluate.job import job_of
from tuneforge.merge.resolve import InputFolder
from tuneforge.merge.soup import judging_metric
from tuneforge.runs import run_job
from tuneforge.step import StepContext
from tuneforge.steps.train import compute_dtype
from tuneforge.workspace import Workspace


def judged(
    context: StepContext,
    spec: GreedySoupMerge,
    inputs: Sequence[InputFolder],
    base_facts: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return what became of each input, in the order in which they were tried."""
    settings = context.spec.base
    evaluation = context.spec.evaluate[spec.evaluate]
    metric = judging_metric(spec, evaluation)
    device = detect()
    base = context.inputs["base"]
    job = job_of(
        spec.evaluate,
        evaluation.model_copy(update={"metrics": (metric,)}),
        settings,
        {**context.inputs, "model": base},
        device,
    )
    del job["models"]
    job |= {
        "kind": "soup",
        "seed": context.seed,
        "threads": context.threads,
        "compute": compute_dtype(settings, device),
        "metric": metric if isinstance(metric, str) else metric.model_dump(by_alias=True),
        "merge": spec.model_dump(mode="json", by_alias=True),
        "inputs": [
            {
                "label": place.label,
                "folder": str(place.folder),
                "adapter": place.adapter,
                "training": dict(place.training),
            }
            for place in inputs
        ],
        "base": {
            "folder": str(base.path / "model"),
            "facts": dict(base_facts),
            "dtype": settings.dtype,
        },
    }
    run_dir = Workspace(context.workspace).run_path(context.step.id, context.key)
    outcome = run_job(run_dir, job, context.report)
    context.notes["run"] = outcome.summary
    context.notes["device"] = device.name
    trials: list[dict[str, Any]] = json.loads((outcome.output / "soup.json").read_text())
    return trials
