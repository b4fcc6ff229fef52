"""The model that was trained, where a merge of its adapter stands in for it: adapter on NF4."""

from pathlib import Path
from typing import Any

from tuneforge_specs.merge import AdapterInput, LoraMerge, ModelInput
from tuneforge_specs.spec import Spec

from tuneforge.step import Artifact
from tuneforge.workspace import Workspace


def trained_adapter(
    model: Artifact, spec: Spec, spec_dir: Path, workspace: Workspace
) -> Path | None:
    """Return the adapter that was folded into ``model`` after training on an NF4 base.

    None for everything but a merge of one such adapter: with several, no one model was trained.
    """
    from tuneforge.merge.resolve import input_folder, quantised_dtype

    kind, _, name = model.step.partition(".")
    merge = spec.merge.get(name) if kind == "merge" else None
    if not isinstance(merge, LoraMerge) or len(merge.inputs) != 1:
        return None
    (entry,) = merge.inputs
    if isinstance(entry, AdapterInput | ModelInput):
        folder = spec_dir / Path(getattr(entry, "adapter", "")).expanduser()
    else:
        made = next(v for role, v in model.manifest["inputs"].items() if role != "base")
        folder = workspace.artifact(made["step"], made["key"]).path
    place = input_folder(entry, folder)
    return place.folder if place.adapter and quantised_dtype(place) else None


def deviation_text(deviation: dict[str, Any]) -> str:
    """Write in one line how far a merged model is from the one that was trained."""
    return (
        f"Against the adapter on the NF4 base that it was trained on, this merge onto "
        f"{deviation['onto']} weights moves logits by {deviation['mean']:.3g} on average and "
        f"{deviation['max']:.3g} at most; {deviation['top1']:.1%} of the likeliest tokens agree "
        f"({deviation['tokens']:,} tokens of {deviation['rows']} rows)."
    )
