"""What a plan says about merges that take more than streaming: those that need torch."""

from collections.abc import Iterator
from pathlib import Path

from tuneforge_specs.merge import GreedySoupMerge
from tuneforge_specs.spec import Spec

from tuneforge.fit import size_text
from tuneforge.step import Step


def kinds_of(step: Step, spec: Spec) -> dict[str, str]:
    """Return, by folder, the kinds of adapters of a merge step that PEFT folds through torch.

    Raises DataError for a kind that cannot be merged, or not so. Adapters on the hub are known once
    they are fetched.
    """
    merge = spec.merge[step.name]
    roles = [f"inputs[{index}]/adapter_config.json" for index in range(len(merge.inputs))]
    if not any(role in step.files for role in roles):
        return {}
    from tuneforge.merge.by_peft import kinds_by_peft
    from tuneforge.merge.resolve import InputFolder

    folders = [step.files[role].parent if role in step.files else None for role in roles]
    inputs = [
        InputFolder(folder.name if folder else "", folder or Path(), folder is not None, {})
        for folder in folders
    ]
    return kinds_by_peft(merge, inputs)


def merge_lines(step: Step, spec: Spec, whole: int) -> Iterator[str]:
    """Yield what a merge step does besides streaming; ``whole``: bytes of the base, or 0."""
    merge = spec.merge[step.name]
    size = f" ({size_text(whole)})" if whole else ""
    if isinstance(merge, GreedySoupMerge):
        count = len(merge.inputs)
        yield (
            f"{step.id}: {2 * count - 1} averages of {count} inputs measured by "
            f"evaluate.{merge.evaluate}, one whole model{size} at a time in memory and on disk"
        )
    for name, kind in kinds_of(step, spec).items():
        yield (
            f"{step.id}: through torch: PEFT folds {name} ({kind}), with the whole base{size} "
            "in memory"
        )
