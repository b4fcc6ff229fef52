"""Where the base model's folder is, as far as a plan can know."""

from pathlib import Path

from tuneforge_specs.base import Base, ModelBase

from tuneforge.plan.definition import PlannedStep
from tuneforge.plan.hub import snapshot


def base_folder(planned: PlannedStep | None, base: Base) -> Path | None:
    """Return the folder of the base: made, local, or in the hub's cache (it may not exist there).

    None where the base is still to be made, or no step needs one.
    """
    if planned is None:
        return None
    if planned.artifact is not None:
        return planned.artifact.path / "model"
    local = planned.step.files.get("model/config.json")
    if local is not None:
        return local.parent
    commit = planned.step.params.get("base.model@commit")
    return snapshot(base.model, str(commit)) if isinstance(base, ModelBase) and commit else None
