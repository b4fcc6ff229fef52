"""Writing an artifact: beside, whole, and then into place in one rename."""

import os
import shutil
import stat
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tuneforge.digest import walk_files
from tuneforge.manifest import FORMAT, content_digest, describe_files, write_manifest
from tuneforge.plan.definition import PlannedStep
from tuneforge.step import Artifact
from tuneforge.workspace import KEY_LENGTH, Workspace

LIBRARIES = ("tuneforge", "duckdb", "pyarrow", "numpy", "tokenizers", "safetensors", "gguf")
TRAINING = ("torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth")
ASIDE = ".replaced"
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def prepare(workspace: Workspace, step: str, key: str) -> Path:
    """Make an empty folder for the output of a step, on the workspace's own file system."""
    folder = workspace.root / "tmp" / f"{step}.{key[:KEY_LENGTH]}"
    discard(folder)
    folder.mkdir(parents=True)
    return folder


def commit(
    workspace: Workspace,
    planned: PlannedStep,
    inputs: Mapping[str, Artifact],
    out: Path,
    *,
    seed: int,
    seconds: float,
    notes: Mapping[str, Any],
) -> Artifact:
    """Give a finished output folder its manifest and rename it into place, read-only.

    Everything is on the disk before the rename, so that a folder that is visible is whole.
    """
    step = planned.step
    files = describe_files(out, workspace.digests)
    manifest: dict[str, Any] = {
        "v": FORMAT,
        "step": step.id,
        "kind": step.kind,
        "name": step.name,
        "key": planned.key,
        "version": planned.version,
        "params": dict(step.params),
        "inputs": {
            role: {"step": artifact.step, "key": artifact.key, "digest": artifact.digest}
            for role, artifact in inputs.items()
        },
        "external": dict(planned.external),
        "files": files,
        "digest": content_digest(files),
        "notes": dict(notes),
        "libraries": _libraries(step.kind),
        "device": notes.get("device", ""),
        "seed": seed,
        "created": time.time(),
        "seconds": round(seconds, 6),
    }
    write_manifest(out, manifest)
    _settle(out)
    place = workspace.artifact_path(step.id, planned.key)
    place.parent.mkdir(parents=True, exist_ok=True)
    _make_way(place, out.with_name(f"{out.name}{ASIDE}"))
    out.rename(place)
    place.chmod(place.stat().st_mode & ~_WRITABLE)
    _sync(place.parent)
    for name, entry in files.items():
        workspace.digests.settle(place / name, entry["sha256"])
    workspace.digests.save()
    return Artifact(step.id, planned.key, str(manifest["digest"]), place, manifest)


def discard(folder: Path) -> None:
    """Delete a folder of ours, read-only or not; links are removed, not what they name."""
    if not folder.exists() and not folder.is_symlink():
        return
    folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    for directory, names, _ in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(folder)


def _make_way(place: Path, aside: Path) -> None:
    """Move a damaged or forced artifact aside before deleting it: a rename cannot stop halfway."""
    if not place.exists():
        return
    discard(aside)
    place.chmod(place.stat().st_mode | stat.S_IRWXU)
    place.rename(aside)
    discard(aside)


def _settle(out: Path) -> None:
    for directory, names, files in os.walk(out):
        folder = Path(directory)
        for name in files:
            path = folder / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITABLE)
                _sync(path)
        _sync(folder)
        for name in names:
            path = folder / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITABLE)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _libraries(kind: str) -> dict[str, str]:
    names = LIBRARIES + (TRAINING if kind in {"base", "train", "evaluate", "export"} else ())
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def size_of(folder: Path) -> int:
    """Sum the sizes of the files below a folder, links not followed."""
    return sum(path.lstat().st_size for _, path in walk_files(folder) if not path.is_symlink())
