"""The merge step: adapters and models into one set of weights, streamed, without torch."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuneforge_specs.errors import DataError
from tuneforge_specs.gates import metric_name
from tuneforge_specs.merge import (
    AdapterMerge,
    GreedySoupMerge,
    LoraCatMerge,
    LoraExtractMerge,
    LoraSvdMerge,
    MergedInput,
    MergeInput,
    ModelInput,
    ModelMerge,
    TrainInput,
)

from tuneforge.step import StepContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuneforge.merge.resolve import InputFolder
    from tuneforge.merge.run import Progress

VERSION: Final = 1


def run(context: StepContext) -> None:
    """Write ``model/`` (a Hugging Face folder) or ``adapter/`` (PEFT's) and ``merge.json``."""
    from tuneforge.merge.resolve import input_folder

    spec = context.spec.merge[context.step.name]
    folders = [
        input_folder(entry, _folder(context, index, entry))
        for index, entry in enumerate(spec.inputs)
    ]
    started = time.monotonic()
    if isinstance(spec, AdapterMerge):
        summary, lines = _adapter(context, spec, folders)
    else:
        summary, lines = _model(context, spec, folders)
    (context.out / "merge.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    context.notes["merge_seconds"] = round(time.monotonic() - started, 3)
    for line in lines:
        context.report.log(line)


def _adapter(
    context: StepContext,
    spec: LoraCatMerge | LoraSvdMerge | LoraExtractMerge,
    folders: "Sequence[InputFolder]",
) -> tuple[dict[str, Any], list[str]]:
    from tuneforge.merge.lowrank import run as lowrank

    base, dtype = context.inputs["base"].path, context.spec.base.dtype
    facts = _facts(base / "base.json")
    plan = lowrank.plan_from(base / "model", facts, dtype, spec, folders, context.seed)
    summary = lowrank.write_adapter(
        plan, context.out / "adapter", context.threads, _progress(context), facts
    )
    return summary, list(lowrank.result_lines(summary))


def _model(
    context: StepContext, spec: ModelMerge, folders: "Sequence[InputFolder]"
) -> tuple[dict[str, Any], list[str]]:
    from tuneforge.merge.execute import merge_into

    base = context.inputs["base"].path
    facts = _facts(base / "base.json")
    soup: dict[str, Any] = {}
    lines: list[str] = []
    if isinstance(spec, GreedySoupMerge):
        soup, lines = _soup(context, spec, folders, facts)
        from tuneforge.merge.soup import chosen, subset

        places = chosen(soup["trials"])
        spec, folders = subset(spec, places), [folders[place] for place in places]
    summary = merge_into(
        context.out / "model",
        base=base / "model",
        base_facts=facts,
        base_dtype=context.spec.base.dtype,
        spec=spec,
        inputs=folders,
        seed=context.seed,
        threads=context.threads,
        progress=_progress(context),
        run_job=lambda job: _worker(context, job),
    )
    for text in summary["warnings"]:
        context.report.warn(text)
    changed = "" if summary["changed"] is None else f", {summary['changed']:,} differ from the base"
    lines.append(f"{spec.method}: {summary['elements']:,} weights{changed}")
    return summary | ({"soup": soup} if soup else {}), lines


def _soup(
    context: StepContext,
    spec: GreedySoupMerge,
    folders: "Sequence[InputFolder]",
    facts: dict[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Decide about the inputs; return what merge.json says of it, and the same in words."""
    from tuneforge.evaluate.soup import judged
    from tuneforge.merge.soup import judging_metric, trial_lines

    trials = judged(context, spec, folders, facts)
    labels = [place.label for place in folders]
    metric = metric_name(judging_metric(spec, context.spec.evaluate[spec.evaluate]))
    told = {
        "evaluation": spec.evaluate,
        "metric": metric,
        "trials": [trial | {"label": labels[trial["input"]]} for trial in trials],
    }
    return told, trial_lines(trials, labels, metric)


def _worker(context: StepContext, job: dict[str, Any]) -> Path:
    from tuneforge.runs import run_job
    from tuneforge.workspace import Workspace

    run_dir = Workspace(context.workspace).run_path(context.step.id, context.key)
    return run_job(run_dir, {**job, "threads": 1}, context.report).output


def _progress(context: StepContext) -> "Progress":
    return lambda done, total: context.report.progress(done, total, "B")


def _facts(file: Path) -> dict[str, Any]:
    facts = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return facts if isinstance(facts, dict) else {}


def _folder(context: StepContext, index: int, entry: MergeInput) -> Path:
    if isinstance(entry, TrainInput):
        return context.inputs[f"train.{entry.train}"].path
    if isinstance(entry, MergedInput):
        return context.inputs[f"merge.{entry.merge}"].path
    name = entry.model if isinstance(entry, ModelInput) else entry.adapter
    local = context.spec_dir / Path(name).expanduser()
    if local.is_dir():
        return local.resolve()
    key = f"merge.{context.step.name}.inputs[{index}]."
    key += "model" if isinstance(entry, ModelInput) else "adapter"
    from tuneforge.merge.hub import snapshot

    commit = context.step.params.get(f"{key}@commit")
    if not isinstance(commit, str):
        raise DataError(f"{key}: {name} is not a folder", "check the path, relative to the spec")
    return snapshot(name, commit)
