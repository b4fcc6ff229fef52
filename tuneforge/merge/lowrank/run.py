"""Make an adapter by its plan: module after module over the threads, each written when it is done.

Linear algebra runs on one thread within a module, so the bytes do not depend on their number.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tuneforge_specs.errors import DataError

from tuneforge.merge.carry import TOKENIZER
from tuneforge.merge.lowrank.combine import Made, combined
from tuneforge.merge.lowrank.extract import Difference, extracted
from tuneforge.merge.lowrank.plan import (
    AdapterPlan,
    AdapterSpec,
    Module,
    adapter_config,
    plan_adapter,
)
from tuneforge.merge.model import open_model
from tuneforge.merge.place import plain
from tuneforge.merge.resolve import InputFolder, choose_onto
from tuneforge.merge.vocabulary.read import holds_tokenizer
from tuneforge.weights import ShardWriter, numpy_dtype
from tuneforge.weights.dtypes import TORCH_NAMES

WEIGHTS = "adapter_model.safetensors"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ModuleResult:
    """A module of the adapter: norm of its exact update and of what the factors miss of it."""

    module: Module
    norm: float
    error: float


def plan_from(
    base: Path,
    base_facts: Mapping[str, Any],
    base_dtype: str,
    spec: AdapterSpec,
    inputs: Sequence[InputFolder],
    seed: int,
) -> AdapterPlan:
    """Open base and inputs and fix the plan."""
    onto = choose_onto(spec, inputs, base_dtype)
    digest = str(base_facts.get("digest", ""))
    return plan_adapter(open_model(base), digest, inputs, spec, onto, seed)


def write_adapter(
    plan: AdapterPlan,
    folder: Path,
    threads: int,
    progress: Progress,
    base_facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a PEFT folder and return what merge.json says.

    Raises DataError when the inputs change nothing.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(1, threads)) as pool:
        left_out = _left_out(plan, pool)
        modules = _changed(plan, pool)
        results = _write(plan, modules, folder, pool, progress)
    if not any(result.norm for result in results):
        raise DataError(
            "an adapter that changes nothing: its updates are zero or cancel each other",
            "check the inputs and their weights",
        )
    config = adapter_config(plan, modules, str(base_facts.get("id", "")))
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "adapter_config.json").write_text(text + "\n", "utf-8")
    return _summary(plan, results, left_out, base_facts, _carry_tokenizer(plan, folder))


def _left_out(plan: AdapterPlan, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Measure what the fine-tune changed outside of the modules."""
    norms = pool.map(lambda name: Difference(plan, name).norm(), plan.left_out)
    return {name: norm for name, norm in zip(plan.left_out, norms, strict=True) if norm}


def _changed(plan: AdapterPlan, pool: ThreadPoolExecutor) -> list[Module]:
    if plan.tuned is None:
        return list(plan.modules)
    flags = pool.map(lambda module: Difference(plan, module.tensor).changed(), plan.modules)
    modules = [module for module, flag in zip(plan.modules, flags, strict=True) if flag]
    if not modules:
        raise DataError(
            f"{plan.inputs[0].label}: none of its linear layers differs from the base",
            "check which model is the base and which the fine-tune",
        )
    return modules


def _write(
    plan: AdapterPlan,
    modules: Sequence[Module],
    folder: Path,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> list[ModuleResult]:
    entries = [entry for module in modules for entry in module.entries(plan.dtype)]
    dtype = numpy_dtype(plan.dtype)
    total, done = sum(entry.nbytes for entry in entries), 0
    results = []
    with ShardWriter(folder, entries, max(1, total), single=WEIGHTS) as writer:

        def make(module: Module) -> ModuleResult:
            made: Made = (
                combined(module, dtype) if plan.tuned is None else extracted(plan, module, dtype)
            )
            for entry, values in zip(module.entries(plan.dtype), (made.a, made.b), strict=True):
                writer.write(entry.name, 0, np.ascontiguousarray(values).astype(dtype))
            return ModuleResult(module, made.norm, made.error)

        for module, result in zip(modules, pool.map(make, modules), strict=True):
            results.append(result)
            done += sum(entry.nbytes for entry in module.entries(plan.dtype))
            progress(done, total)
    return results


def _carry_tokenizer(plan: AdapterPlan, folder: Path) -> str:
    """Copy the tokenizer of the last input that has one, else the base's."""
    candidates = [place.folder for place in plan.inputs if holds_tokenizer(place.folder)]
    chosen = candidates[-1] if candidates else plan.base.folder
    for name in TOKENIZER:
        if (chosen / name).is_file():
            shutil.copyfile(chosen / name, folder / name)
    return chosen.name


def _summary(
    plan: AdapterPlan,
    results: Sequence[ModuleResult],
    left_out: Mapping[str, float],
    base_facts: Mapping[str, Any],
    tokenizer: str,
) -> dict[str, Any]:
    outside = sum(norm**2 for norm in left_out.values())
    whole = sum(result.norm**2 for result in results) + outside
    missed = sum(result.error**2 for result in results) + outside
    known = {key: base_facts[key] for key in ("id", "digest") if key in base_facts}
    form = {"quantize": "none", "dtype": plan.base.config.get("dtype", "")}
    if plan.onto.dtype:
        form = {"quantize": "nf4", "dtype": TORCH_NAMES[plan.onto.dtype]}
    return {
        "v": 1,
        "result": "adapter",
        "method": plan.spec.method,
        "onto": plan.onto.name,
        "onto_dtype": plan.onto.dtype,
        "base": known | form,
        "inputs": [
            {
                "label": place.label,
                "kind": "adapter" if place.adapter else "model",
                "weight": plain(entry.weight),
            }
            for place, entry in zip(plan.inputs, plan.spec.inputs, strict=True)
        ],
        "tokenizer": tokenizer,
        "elements": sum(r.module.rank * (r.module.rows + r.module.columns) for r in results),
        "changed": None,
        "bytes": sum(e.nbytes for r in results for e in r.module.entries(plan.dtype)),
        "rank": max(result.module.rank for result in results),
        "error": _share(missed**0.5, whole**0.5),
        "left_out": {name: float(f"{norm:.6g}") for name, norm in sorted(left_out.items())},
        "modules": [
            {
                "module": result.module.name,
                "rank": result.module.rank,
                "norm": float(f"{result.norm:.6g}"),
                "error": _share(result.error, result.norm),
            }
            for result in results
        ],
    }


def _share(part: float, whole: float) -> float:
    return float(f"{part / whole:.4g}") if whole else 0.0


def result_lines(summary: Mapping[str, Any]) -> list[str]:
    """Write what became of an adapter merge: its rank, its error, what is not in it."""
    modules = summary["modules"]
    worst = max(modules, key=lambda module: float(module["error"]))
    size = f"rank {summary['rank']} over {len(modules)} modules"
    largest = f"largest {worst['error']:.2g}, {worst['module']}"
    lines = [f"{summary['method']}: {size}, relative error {summary['error']:.2g} ({largest})"]
    if summary["left_out"]:
        names = list(summary["left_out"])
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"not in the adapter, though the fine-tune changed it: {names[0]}{more}")
    return lines
