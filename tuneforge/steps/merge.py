"""The merge step: adapters and models into one set of weights, streamed, without torch."""

import json
import time
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import AdapterInput, AdapterMerge, MergedInput, ModelInput, TrainInput

from tuneforge.step import StepContext

VERSION: Final = 1


def run(context: StepContext) -> None:
    """Write ``model/`` (a Hugging Face folder) or ``adapter/`` (PEFT's) and ``merge.json``."""
    from tuneforge.merge.execute import merge_into
    from tuneforge.merge.lowrank import run as lowrank
    from tuneforge.merge.resolve import input_folder

    spec = context.spec.merge[context.step.name]
    base = context.inputs["base"].path
    folders = [
        input_folder(entry, _folder(context, index, entry))
        for index, entry in enumerate(spec.inputs)
    ]
    started = time.monotonic()
    facts, dtype = _facts(base / "base.json"), context.spec.base.dtype

    def progress(done: int, total: int) -> None:
        context.report.progress(done, total, "B")

    if isinstance(spec, AdapterMerge):
        plan = lowrank.plan_from(base / "model", facts, dtype, spec, folders, context.seed)
        summary = lowrank.write_adapter(
            plan, context.out / "adapter", context.threads, progress, facts
        )
    else:
        summary = merge_into(
            context.out / "model",
            base=base / "model",
            base_facts=facts,
            base_dtype=dtype,
            spec=spec,
            inputs=folders,
            seed=context.seed,
            threads=context.threads,
            progress=progress,
        )
    (context.out / "merge.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    context.notes["merge_seconds"] = round(time.monotonic() - started, 3)
    if isinstance(spec, AdapterMerge):
        for line in lowrank.result_lines(summary):
            context.report.log(line)
        return
    changed = "" if summary["changed"] is None else f", {summary['changed']:,} differ from the base"
    context.report.log(f"{spec.method}: {summary['elements']:,} weights{changed}")


def _facts(file: Path) -> dict[str, Any]:
    facts = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return facts if isinstance(facts, dict) else {}


def _folder(
    context: StepContext, index: int, entry: TrainInput | MergedInput | ModelInput | AdapterInput
) -> Path:
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
