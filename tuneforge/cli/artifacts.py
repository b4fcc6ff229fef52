"""Where the artifacts of datasets and renderings are, as the store of a workspace knows them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge_specs.errors import EnvironmentMissing, UsageError

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


def licenses(workspace: Path, spec: Path | None) -> dict[str, str]:
    """Give the licence of each source as a spec declares it: the one named, or the workspace's."""
    from tuneforge_specs.loader import load

    beside = workspace.absolute().parent / "spec.toml"
    if spec is None and not beside.is_file():
        return {}
    loaded = load(spec or beside)
    return {name: source.license for name, source in loaded.spec.sources.items()}


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a draft of the folder ``out``, which appears whole or not at all.

    Raises:
        UsageError: there is something in it already.
        EnvironmentMissing: it cannot be written.
    """
    from tempfile import TemporaryDirectory

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", "name a new or empty folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            draft = Path(temporary) / "draft"
            draft.mkdir()
            yield draft
            draft.replace(out)
    except OSError as error:
        raise EnvironmentMissing(
            f"{out} cannot be written: {error.strerror or error}",
            "make room on the disk, or name a folder that you may write",
        ) from error


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
