"""What a plan says about merges that take more than streaming: those that need torch."""

from collections.abc import Iterator

from tuneforge_specs.merge import GreedySoupMerge
from tuneforge_specs.spec import Spec

from tuneforge.fit import size_text
from tuneforge.step import Step


def kinds_of(step: Step) -> dict[str, str]:
    """Return, by folder, the kinds of adapters of a merge step that PEFT folds through torch.

    Raises DataError for a kind that cannot be merged. Adapters on the hub are known once fetched.
    """
    from tuneforge.merge.adapter_kinds import CONFIG, kind_by_peft, read_config

    folders = [path.parent for role, path in step.files.items() if role.endswith(f"/{CONFIG}")]
    kinds = {folder.name: kind_by_peft(folder, read_config(folder)) for folder in folders}
    return {name: kind for name, kind in kinds.items() if kind}


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
    for name, kind in kinds_of(step).items():
        yield (
            f"{step.id}: through torch: PEFT folds {name} ({kind}), with the whole base{size} "
            "in memory"
        )
