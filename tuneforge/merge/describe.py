"""A merge plan and its analysis as text and as plain values."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tuneforge_specs.merge import GreedySoupMerge

from tuneforge.merge.analyse import Analysis
from tuneforge.merge.methods import METHODS, method_named
from tuneforge.merge.place import setting_text
from tuneforge.merge.plan import MergePlan, TensorPlan

# Bytes a second and thread, measured on two cores of a shared machine: an estimate, no promise.
_RATES = {
    "copy": 1.5e9, "cast": 6e8, "lora": 2.5e8, "peft": 1e8,
    "linear": 5e8, "greedy_soup": 5e8, "slerp": 3e8,
}  # fmt: skip
_SLOW_RATE = 1.2e8


def plan_values(plan: MergePlan, threads: int) -> dict[str, Any]:
    """Return the plan for scripts."""
    return {
        "method": plan.spec.method,
        "onto": plan.onto.name,
        "through_torch": plan.kinds,
        "vocabulary": plan.alignment.summary() if plan.alignment is not None else {},
        "warnings": plan.warnings,
        "bytes_in": plan.bytes_in,
        "bytes_out": plan.bytes_out,
        "peak_memory": plan.peak_memory(threads),
        "seconds": round(seconds(plan, threads), 1),
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.entry.dtype,
                "shape": list(tensor.entry.shape),
                "action": tensor.action,
                "sources": [source.label for source in tensor.sources],
                "weights": _weights(tensor),
            }
            for tensor in plan.tensors
        ],
    }


def _weights(tensor: TensorPlan) -> list[float]:
    """Return what each source counts here, for actions that weigh them."""
    if tensor.action in {"copy", "cast", "replace", "stack"}:
        return []
    return [round(source.weight_at(tensor.place), 9) for source in tensor.sources]


def seconds(plan: MergePlan, threads: int) -> float:
    """Guess how long the merge takes."""
    work = sum(tensor.bytes_in / (_RATES.get(tensor.action, _SLOW_RATE)) for tensor in plan.tensors)
    return work / max(1, threads)


def plan_lines(plan: MergePlan, threads: int) -> list[str]:
    """Write the plan for people: what is merged, tensor by tensor, and what it takes."""
    paper = {"lora": "as PEFT", "passthrough": "layers as they are"}.get(plan.spec.method, "")
    if plan.spec.method in METHODS:
        paper = method_named(plan.spec.method).paper
    lines = [
        f"  method  {plan.spec.method} ({paper})",
        f"  base    {plan.base.folder} ({plan.onto.name} weights)",
    ]
    for source in plan.sources:
        kind = "model" if source.model is not None else f"adapter, {len(source.pieces)} tensors"
        if source.by_peft:
            kind = f"{source.kind} adapter, through torch: PEFT folds it"
        lines.append(f"  input   {source.label} ({kind}), weight {setting_text(source.weight)}")
    if isinstance(plan.spec, GreedySoupMerge):
        lines.append(f"  judge   evaluate.{plan.spec.evaluate} decides in the build who stays in")
    if plan.alignment is not None:
        lines.append(f"  tokens  {plan.alignment.text()}")
    lines += [f"  warning {text}" for text in plan.warnings]
    width = max(len(tensor.name) for tensor in plan.tensors)
    for tensor in plan.tensors:
        shape = "x".join(map(str, tensor.entry.shape)) or "scalar"
        names = ", ".join(source.label for source in tensor.sources)
        lines.append(
            f"  {tensor.name:<{width}}  {tensor.entry.dtype:<4}  {shape:>13}  "
            f"{tensor.action:<8}  {names}".rstrip()
        )
    counts = Counter(tensor.action for tensor in plan.tensors)
    actions = ", ".join(f"{count} {action}" for action, count in counts.most_common())
    lines.append(f"  tensors {actions}")
    lines.append(
        f"  reads {plan.bytes_in / 1e9:.2f} GB a pass, writes {plan.bytes_out / 1e9:.2f} GB of "
        f"disk, peak memory about {plan.peak_memory(threads) / 2**20:.0f} MiB, about "
        f"{seconds(plan, threads):.0f} s with {threads} threads"
    )
    return lines


def analysis_lines(analysis: Analysis) -> list[str]:
    """Write the analysis as a table, one line a layer."""
    labels = analysis.labels
    lines = [
        f"  [{index}] {label}, trimmed {share:.0%}"
        for index, (label, share) in enumerate(zip(labels, analysis.trimmed, strict=True))
    ]
    lines += list(_table(analysis))
    return lines


def _table(analysis: Analysis) -> Iterator[str]:
    count = len(analysis.labels)
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    width = max((len(layer.layer) for layer in analysis.layers), default=5)
    head = "  ".join(
        [f"{f'delta[{i}]/base':>13}" for i in range(count)]
        + [f"{f'cos {a},{b}':>8}  {f'agree {a},{b}':>9}" for a, b in pairs]
    )
    yield f"  {'layer':<{width}}  {head}"
    for layer in analysis.layers:
        cells = [f"{layer.relative(i):>13.5f}" for i in range(count)]
        cells += [f"{layer.cosine(a, b):>8.3f}  {layer.agreement(a, b):>9.1%}" for a, b in pairs]
        yield f"  {layer.layer:<{width}}  " + "  ".join(cells)
