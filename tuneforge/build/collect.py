"""Garbage: artifacts, runs and what was noted about them, where no current spec needs them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneforge.build.commit import discard, size_of
from tuneforge.plan.definition import Plan
from tuneforge.runs import status
from tuneforge.workspace import FOLDER, KEY_LENGTH, Workspace, folder_of

BUILDS = 20  # logs of so many builds stay
# Answers that were paid for, by folder below cache/, and the filters that would ask for them again.
CACHES = {"judge": {"judge"}, "losses": {"perplexity", "difficulty"}}
_KIND = re.compile(r"datasets\.[^.]+\.filters\[\d+\]\.kind")
_LOCK = re.compile(rf"(?P<step>.+)\.(?P<key>[0-9a-f]{{{KEY_LENGTH}}})\.(?:lock|pid)")


@dataclass(frozen=True)
class Garbage:
    """One folder, or file, that may go."""

    path: Path
    bytes: int


def find_garbage(workspace: Workspace, plans: Sequence[Plan], *, keep: int) -> list[Garbage]:
    """List what neither the plans nor the last builds use; the ``keep`` newest of a step stay.

    What the kept artifacts were made of stays too, and so does every run with a live worker.
    """
    stale = list(_stale_states(workspace))
    needed = _needed(workspace, plans, stale)
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
    artifacts = [artifact for artifact in workspace.artifacts() if artifact.path not in set(gone)]
    kept = {artifact.path for artifact in artifacts}
    gone += _runs(workspace, kept, unfinished(plans))
    gone += sorted((workspace.root / "builds").glob("*"))[:-BUILDS]
    gone += [*stale, *_locks(workspace, kept, unfinished(plans))]
    told = [artifact.manifest.get("params", {}) for artifact in artifacts]
    gone += _caches(workspace, [*told, *(planned.step.params for p in plans for planned in p)])
    sizes = ((path, path.stat().st_size if path.is_file() else size_of(path)) for path in gone)
    return [Garbage(path, size) for path, size in sorted(sizes)]


def remove(garbage: Iterable[Garbage]) -> None:
    """Delete it."""
    for entry in garbage:
        if entry.path.is_file():
            entry.path.unlink(missing_ok=True)
        else:
            discard(entry.path)


def _stale_states(workspace: Workspace) -> Iterator[Path]:
    """Give what was noted of specs that are gone from beside the workspace."""
    if workspace.root.name != FOLDER:
        return  # a workspace elsewhere does not know where its specs are
    for state in (workspace.root / "state").glob("*.json"):
        if not (workspace.root.parent / state.name.removesuffix(".json")).exists():
            yield state


def _locks(workspace: Workspace, kept: set[Path], resumable: frozenset[str]) -> Iterator[Path]:
    for path in (workspace.root / "locks").glob("*"):
        found = _LOCK.fullmatch(path.name)
        if found is None or found["step"] in resumable:
            continue
        if workspace.root / "artifacts" / folder_of(found["step"]) / found["key"] not in kept:
            yield path


def _caches(workspace: Workspace, params: Iterable[Mapping[str, object]]) -> Iterator[Path]:
    """Give the caches that no filter of a spec or of a kept dataset reads."""
    asked = {value for table in params for key, value in table.items() if _KIND.fullmatch(key)}
    for name, kinds in CACHES.items():
        folder = workspace.root / "cache" / name
        if folder.is_dir() and not kinds & asked:
            yield folder


def _needed(workspace: Workspace, plans: Sequence[Plan], stale: Sequence[Path]) -> set[Path]:
    wanted = [
        planned.artifact for plan in plans for planned in plan if planned.artifact is not None
    ]
    current = {plan.spec.name: {planned.step.id for planned in plan} for plan in plans}
    for state in (workspace.root / "state").glob("*.json"):
        if state in stale:
            continue
        spec = state.name.removesuffix(".json")
        keys = workspace.state(Path(spec))
        # Of a spec that is at hand, steps that it has no more are no longer needed.
        places = [
            workspace.artifact_path(step, key)
            for step, key in keys.items()
            if step in current.get(spec, keys)
        ]
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
