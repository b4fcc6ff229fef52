"""An evaluation: a model and its base answer held-out rows in a worker; the texts are scored here.

Gates are held against the result by the build, so that a changed gate runs nothing again.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tuneforge.step import StepContext

VERSION: Final = 2


def run(context: StepContext) -> None:
    """Write metrics.json and samples.parquet."""
    from tuneforge.device import detect
    from tuneforge.evaluate.job import job_of
    from tuneforge.evaluate.report import write_report
    from tuneforge.evaluate.trained import deviation_text, trained_adapter
    from tuneforge.runs import run_job
    from tuneforge.workspace import Workspace

    evaluation = context.spec.evaluate[context.step.name]
    device = detect()
    workspace = Workspace(context.workspace)
    model = context.inputs["model"]
    trained = trained_adapter(model, context.spec, context.spec_dir, workspace)
    if trained is not None and find_spec("bitsandbytes") is None:
        context.report.warn("not compared with the adapter on its NF4 base: no bitsandbytes here")
        trained = None
    job = job_of(context.step.name, evaluation, context.spec.base, context.inputs, device, trained)
    job |= {"seed": context.seed, "threads": context.threads}
    run_dir = workspace.run_path(context.step.id, context.key)
    outcome = run_job(run_dir, job, context.report)
    report = write_report(
        context.out,
        outcome.output,
        context.inputs["render"].path / "eval.parquet",
        context.inputs["dataset"].path / "kept.parquet",
        evaluation.metrics,
        _onto(model.path) if trained else "",
    )
    context.notes["run"] = outcome.summary
    context.notes["device"] = device.name
    for name, value in report["metrics"].items():
        context.report.log(f"{name}: {value:.4g} (base {report['base'][name]:.4g})")
    if "trained" in report:
        context.report.log(deviation_text(report["trained"]))
    unstopped = report["unstopped"]["metrics"]
    if unstopped:
        context.report.warn(
            f"{unstopped:,} of {report['rows']:,} answers did not end within "
            f"{evaluation.max_new_tokens} tokens"
        )


def _onto(merge: Path) -> str:
    return str(json.loads((merge / "merge.json").read_text("utf-8"))["onto"])
