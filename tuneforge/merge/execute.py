"""One merge from folders to a folder: resolve, plan, run, carry the other files, summarise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneforge_specs.merge import ModelMerge

from tuneforge.merge.by_peft import RunJob, check_packages, fold, kinds_by_peft, planned
from tuneforge.merge.carry import carry_files
from tuneforge.merge.model import open_model
from tuneforge.merge.place import plain
from tuneforge.merge.plan import MergePlan, plan_merge
from tuneforge.merge.resolve import InputFolder, check_base, choose_onto, open_sources
from tuneforge.merge.run import Progress, TensorResult, run_plan
from tuneforge.merge.vocabulary.read import holds_tokenizer


def plan_from(
    base: Path,
    base_facts: Mapping[str, Any],
    base_dtype: str,
    spec: ModelMerge,
    inputs: Sequence[InputFolder],
    seed: int,
) -> MergePlan:
    """Open base and inputs, reading headers only, and fix the plan."""
    model = open_model(base)
    onto = choose_onto(spec, inputs, base_dtype)
    digest = str(base_facts.get("digest", ""))
    kinds = kinds_by_peft(spec, inputs)
    if kinds:
        for place in inputs:
            check_base(place, digest)
        sources = planned(model, inputs, kinds)
    else:
        sources = open_sources(model, digest, spec, inputs)
    return plan_merge(model, sources, spec, onto, seed)


def merge_into(
    folder: Path,
    *,
    base: Path,
    base_facts: Mapping[str, Any],
    base_dtype: str,
    spec: ModelMerge,
    inputs: Sequence[InputFolder],
    seed: int,
    threads: int,
    progress: Progress,
    run_job: RunJob | None = None,
) -> dict[str, Any]:
    """Write the merged model into ``folder`` and return what merge.json says.

    Everything is checked before the first byte is written; the caller makes the folder visible.
    ``run_job`` runs a worker and returns its output, for adapters that only PEFT can fold.
    """
    plan = plan_from(base, base_facts, base_dtype, spec, inputs, seed)
    kinds = plan.kinds
    if kinds:
        check_packages(kinds)
        if run_job is None:
            raise RuntimeError(f"{next(iter(kinds))}: folding takes a worker")
        sources = fold(plan.base, inputs, plan.onto, run_job)
        plan = plan_merge(plan.base, sources, spec, plan.onto, seed)
    results = run_plan(plan, folder, threads, progress)
    tokenizers = [place.folder for place in inputs if place.adapter or place.training]
    tokenizer = carry_files(plan, folder, [path for path in tokenizers if holds_tokenizer(path)])
    return summary(plan, results, base_facts, tokenizer)


def summary(
    plan: MergePlan, results: Sequence[TensorResult], base_facts: Mapping[str, Any], tokenizer: str
) -> dict[str, Any]:
    """Describe a finished merge; nothing in it depends on the machine or the time.

    ``changed`` is null, and ``tensors`` empty, where the method did not read the base.
    """
    changed = [result for result in results if result.changed and result.exact]
    exact = all(result.exact for result in results)
    return {
        "v": 1,
        "method": plan.spec.method,
        "onto": plan.onto.name,
        "onto_dtype": plan.onto.dtype,
        "base": {key: base_facts[key] for key in ("id", "digest") if key in base_facts},
        "inputs": [
            {
                "label": source.label,
                "kind": "model" if source.model is not None else "adapter",
                "weight": plain(source.weight),
                "density": plain(source.density),
                "tensors": len(source.pieces) if source.model is None else len(plan.tensors),
            }
            for source in plan.sources
        ],
        "tokenizer": tokenizer,
        "vocabulary": plan.alignment.summary() if plan.alignment is not None else {},
        "elements": sum(result.size for result in results),
        "changed": sum(result.changed for result in results) if exact else None,
        "bytes": plan.bytes_out,
        "untied": plan.untied,
        "warnings": plan.warnings,
        "tensors": [
            {
                "name": result.name,
                "action": result.action,
                "changed": result.changed,
                "size": result.size,
                "delta_norm": round(result.delta_norm, 6),
                "relative": round(result.delta_norm / result.base_norm, 6)
                if result.base_norm
                else 0.0,
            }
            for result in changed
        ],
    }
