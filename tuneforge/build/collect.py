"""Garbage: artifacts and runs that no current spec needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneforge.build.commit import discard, size_of
from tuneforge.plan.definition import Plan
from tuneforge.runs import status
from tuneforge.workspace import KEY_LENGTH, Workspace

BUILDS = 20  # logs of so many builds stay


@dataclass(frozen=True)
class Garbage:
    """One folder that may go."""

    path: Path
    bytes: int


def find_garbage(workspace: Workspace, plans: Sequence[Plan], *, keep: int) -> list[Garbage]:
    """List what neither the plans nor the last builds use; the ``keep`` newest of a step stay.

    What the kept artifacts were made of stays too, and so does every run with a live worker.
    """
    needed = _needed(workspace, plans)
    by_step: dict[str, list[tuple[float, Path]]] = {}
    for artifact in workspace.artifacts():
        if artifact.path not in needed:
            entry = (float(artifact.manifest["created"]), artifact.path)
            by_step.setdefault(artifact.step, []).append(entry)
    gone = [
        path
        for entries in by_step.values()
        for _, path in sorted(entries, reverse=True)[max(keep, 0) :]
    ]
    kept = {artifact.path for artifact in workspace.artifacts()} - set(gone)
    gone += _runs(workspace, kept, unfinished(plans))
    gone += sorted((workspace.root / "builds").glob("*"))[:-BUILDS]
    return [Garbage(path, size_of(path)) for path in sorted(gone)]


def remove(garbage: Iterable[Garbage]) -> None:
    """Delete it."""
    for entry in garbage:
        discard(entry.path)


def _needed(workspace: Workspace, plans: Iterable[Plan]) -> set[Path]:
    wanted = [
        planned.artifact for plan in plans for planned in plan if planned.artifact is not None
    ]
    for state in (workspace.root / "state").glob("*.json"):
        keys = workspace.state(Path(state.name.removesuffix(".json")))
        places = [workspace.artifact_path(step, key) for step, key in keys.items()]
        wanted += [a for a in workspace.artifacts() if a.path in places]
    needed: set[Path] = set()
    while wanted:
        artifact = wanted.pop()
        if artifact.path in needed:
            continue
        needed.add(artifact.path)
        for entry in artifact.manifest["inputs"].values():
            found, _ = workspace.check(entry["step"], entry["key"])
            if found is not None:
                wanted.append(found)
    return needed


def unfinished(plans: Iterable[Plan]) -> frozenset[str]:
    """Name the steps still to be done: their runs hold checkpoints to go on from."""
    return frozenset(p.step.id for plan in plans for p in plan if p.status != "cached")


def _runs(workspace: Workspace, kept: set[Path], resumable: frozenset[str]) -> list[Path]:
    used = {(path.parent.parent.name, path.parent.name, path.name) for path in kept}
    gone = []
    for job in (workspace.root / "runs").glob("*/*/job.json"):
        run = job.parent
        kind, _, name = run.parent.name.partition(".")
        if (kind, name or kind, run.name[:KEY_LENGTH]) in used or run.parent.name in resumable:
            continue
        if not status(run).alive:
            gone.append(run)
    return gone
