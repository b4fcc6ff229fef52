"""Where the artifacts of datasets and renderings are, as the store of a workspace knows them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge_specs.errors import UsageError

if TYPE_CHECKING:
    from tuneforge_datastore.preview import Rendered

KEPT = "kept.parquet"


def current(workspace: Path, kind: str, name: str) -> Path:
    """Give the folder of a step of the last build.

    Raises:
        UsageError: the build has none of that name; the message lists those it has.
    """
    from tuneforge_datastore.sql import query

    rows = query(workspace, "SELECT name, path FROM artifacts WHERE kind = ?", [kind]).rows
    known: dict[str, str] = dict(rows)
    if name not in known:
        raise UsageError(
            f"the last build has no {kind} {name}",
            f"it has {', '.join(sorted(known))}" if known else f"it has no {kind} yet",
        )
    return Path(known[name])


def dataset_folder(workspace: Path, reference: str) -> Path:
    """Give the folder of a dataset: a path, ``NAME`` of the last build, or ``NAME@KEY``.

    Raises:
        UsageError: there is no such build, or a key's beginning means more than one.
    """
    if (Path(reference) / KEPT).is_file():
        return Path(reference)
    name, _, key = reference.partition("@")
    if not key:
        return current(workspace, "dataset", name)
    folder = workspace / "artifacts" / "dataset" / name
    keys = sorted(path.parent.name for path in folder.glob(f"*/{KEPT}"))
    found = [one for one in keys if one.startswith(key)]
    if len(found) != 1:
        raise UsageError(
            f"{reference}: {len(found)} builds of {name} have a key that begins so",
            f"the keys are {', '.join(keys)}" if keys else f"no build of {name} is kept",
        )
    return folder / found[0]


def rendered(workspace: Path, dataset: str) -> "Rendered":
    """Gather what a preview of a dataset's rendering needs.

    Raises:
        UsageError: the last build did not render this dataset.
    """
    from tuneforge_datastore.preview import Rendered
    from tuneforge_specs.datasets import Template

    rendering = current(workspace, "render", dataset)
    manifest = json.loads((rendering / "manifest.json").read_text())
    prefix = f"datasets.{dataset}.template."
    template = {
        key.removeprefix(prefix): value
        for key, value in manifest["params"].items()
        if key.startswith(prefix)
    }
    return Rendered(
        rendering,
        current(workspace, "base", "base") / "model",
        current(workspace, "dataset", dataset),
        Template.model_validate(template),
        workspace.absolute().parent,
    )
