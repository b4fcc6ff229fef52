"""Telling the datastore which artifacts are current."""

from collections.abc import Mapping
from pathlib import Path

from tuneforge.digest import value_digest
from tuneforge.step import Artifact
from tuneforge.workspace import Workspace


def publish(workspace: Workspace, artifacts: Mapping[str, Artifact]) -> None:
    """Publish the current artifacts in one short transaction, unless the store has them already."""
    stamp = workspace.root / "published"
    held = {step: [a.key, a.digest] for step, a in artifacts.items()}
    # The store's views hold whole paths: a workspace that was moved is published again.
    digest = value_digest({"at": str(workspace.root), "artifacts": held})
    store = workspace.root / "store.duckdb"
    if store.exists() and _read(stamp) == digest:
        return
    from tuneforge_datastore.store import Catalog, CatalogEntry
    from tuneforge_datastore.store import publish as publish_catalog

    entries = tuple(
        CatalogEntry(
            step=artifact.step,
            kind=str(artifact.manifest["kind"]),
            name=str(artifact.manifest["name"]),
            key=artifact.key,
            digest=artifact.digest,
            path=artifact.path,
            created=float(artifact.manifest["created"]),
            seconds=float(artifact.manifest["seconds"]),
        )
        for artifact in artifacts.values()
    )
    publish_catalog(workspace.root, Catalog(entries))
    stamp.write_text(digest)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
