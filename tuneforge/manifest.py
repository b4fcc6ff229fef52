"""The manifest of an artifact: what made it, and the digest of every file in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError

from tuneforge.digest import FileDigests, file_digest, value_digest, walk_files

MANIFEST = "manifest.json"
FORMAT = 1
_IDENTITY = ("step", "key", "digest", "files")


@dataclass(frozen=True)
class Damage:
    """One file of a folder that is not what its manifest says."""

    file: str
    message: str


def describe_files(folder: Path, digests: FileDigests | None = None) -> dict[str, dict[str, Any]]:
    """Hash every file below ``folder`` but the manifest: ``{path: {"sha256", "size"}}``."""
    hashed = file_digest if digests is None else digests.digest
    return {
        name: {"sha256": hashed(path), "size": path.stat().st_size}
        for name, path in walk_files(folder)
        if name != MANIFEST
    }


def content_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Reduce the files of an artifact to one digest of their names and bytes."""
    return value_digest({name: entry["sha256"] for name, entry in files.items()})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest; raise DataError where it is missing or broken."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"{folder}: no readable {MANIFEST} ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("v") != FORMAT:
        raise DataError(f"{path}: not a manifest of format {FORMAT}")
    if missing := [key for key in _IDENTITY if key not in manifest]:
        raise DataError(f"{path}: it says nothing of {', '.join(missing)}")
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a finished output folder."""
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n")


def compare(
    folder: Path, manifest: Mapping[str, Any], digests: FileDigests | None = None
) -> list[Damage]:
    """Name every file that is missing, altered or not listed.

    With ``digests`` a file whose stat is as when it was hashed is taken as unaltered.
    """
    hashed = file_digest if digests is None else digests.digest
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    damages: list[Damage] = []
    for name, entry in listed.items():
        path = folder / name
        if not path.is_file():
            damages.append(Damage(name, "missing"))
        elif path.stat().st_size != entry["size"]:
            damages.append(
                Damage(name, f"{path.stat().st_size} bytes, the manifest says {entry['size']}")
            )
        elif hashed(path) != entry["sha256"]:
            damages.append(Damage(name, "its bytes differ from what was written"))
    present = {name for name, _ in walk_files(folder)} - {MANIFEST}
    damages += [Damage(name, "not in the manifest") for name in sorted(present - set(listed))]
    if not damages and content_digest(listed) != manifest["digest"]:
        damages.append(Damage(MANIFEST, "its digest is not that of the files it lists"))
    return damages
