"""The card's account of training and merging: every parameter, by the spec's own key."""

import json

from tuneforge.card.markdown import section, table
from tuneforge.card.provenance import Lineage, read_json


def training_section(lineage: Lineage) -> str:
    """Return all parameters of every training and merging step."""
    parts = []
    for kind in ("base", "train", "merge"):
        for artifact in lineage.of_kind(kind):
            params = artifact.manifest.get("params", {})
            rows = [(f"`{key}`", f"`{json.dumps(value)}`") for key, value in sorted(params.items())]
            inputs = ", ".join(
                f"{role} = {entry['step']}"
                for role, entry in sorted(artifact.manifest.get("inputs", {}).items())
            )
            title = f"### `{artifact.step}`" + (f" from {inputs}" if inputs else "")
            parts += [title, table(("parameter", "value"), rows)]
    return section("Training", *parts)


def base_of(lineage: Lineage) -> dict[str, str]:
    """Return base.json of the base model, empty where it is not in the workspace."""
    for artifact in lineage.of_kind("base"):
        return {key: str(value) for key, value in read_json(artifact.path / "base.json").items()}
    return {}
