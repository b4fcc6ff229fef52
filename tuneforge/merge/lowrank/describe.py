"""The plan of an adapter to be made, as text and as plain values."""

from typing import Any

from tuneforge.merge.lowrank import ADAPTER_METHODS
from tuneforge.merge.lowrank.plan import AdapterPlan, Module


def plan_values(plan: AdapterPlan, threads: int) -> dict[str, Any]:
    """Return the plan for scripts."""
    return {
        "method": plan.spec.method,
        "onto": plan.onto.name,
        "bytes_out": plan.bytes_out,
        "peak_memory": plan.peak_memory(threads),
        "modules": [
            {
                "name": module.name,
                "rank": module.rank,
                "shape": [module.rows, module.columns],
                "sources": _sources(plan, module),
            }
            for module in plan.modules
        ],
    }


def plan_lines(plan: AdapterPlan, threads: int) -> list[str]:
    """Write the plan for people: each module, its rank, its inputs, and what it takes."""
    lines = [
        f"  method  {plan.spec.method} ({ADAPTER_METHODS[plan.spec.method]})",
        f"  base    {plan.base.folder} ({plan.onto.name} weights)",
    ]
    lines += [f"  input   {place.label}" for place in plan.inputs]
    width = max(len(module.name) for module in plan.modules)
    lines += [
        f"  {module.name:<{width}}  {f'{module.rows}x{module.columns}':>13}  "
        f"rank {module.rank:<4}  {', '.join(_sources(plan, module))}"
        for module in plan.modules
    ]
    lines.append(
        f"  writes {plan.bytes_out / 1e6:.1f} MB of disk, peak memory about "
        f"{plan.peak_memory(threads) / 2**20:.0f} MiB with {threads} threads"
    )
    return lines


def _sources(plan: AdapterPlan, module: Module) -> list[str]:
    folders = {term.adapter.folder for term in module.terms}
    return [p.label for p in plan.inputs if plan.tuned is not None or p.folder in folders]
