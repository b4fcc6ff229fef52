"""The folder ``.tuneforge/``: where everything a build makes is kept."""

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError, EnvironmentMissing

from tuneforge.digest import FileDigests
from tuneforge.manifest import MANIFEST, compare, read_manifest
from tuneforge.step import Artifact

FOLDER = ".tuneforge"
KEY_LENGTH = 16


def folder_of(step: str) -> str:
    """Give the folder of a step: ``train.a`` -> ``train/a``, ``base`` -> ``base/base``."""
    kind, _, name = step.partition(".")
    return f"{kind}/{name or kind}"


class Workspace:
    """Paths and artifacts of one workspace. Reading needs no write access."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @classmethod
    def of(cls, spec: Path, override: Path | None = None) -> "Workspace":
        """Choose the workspace of a spec: beside it unless overridden."""
        return cls(override if override is not None else spec.parent / FOLDER)

    @cached_property
    def digests(self) -> FileDigests:
        """The digests of files already hashed."""
        return FileDigests(self.root / "digests.json")

    def create(self) -> None:
        """Make the folders a build writes to; raise EnvironmentMissing where it may not."""
        try:
            for name in ("artifacts", "builds", "locks", "runs", "state", "tmp"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "tmp" / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise EnvironmentMissing(
                f"{self.root}: the workspace is not writable: {error.strerror}",
                "make it writable, or name another one with --workspace DIR",
            ) from error

    def artifact_path(self, step: str, key: str) -> Path:
        """Give the folder of an artifact, which need not exist."""
        return self.root / "artifacts" / folder_of(step) / key[:KEY_LENGTH]

    def run_path(self, step: str, key: str) -> Path:
        """Give the run folder of a step that trains."""
        return self.root / "runs" / step / key[:KEY_LENGTH]

    def artifact(self, step: str, key: str) -> Artifact:
        """Open an artifact without checking its files; raise DataError where there is none."""
        path = self.artifact_path(step, key)
        manifest = read_manifest(path)
        return Artifact(step, str(manifest["key"]), str(manifest["digest"]), path, manifest)

    def check(self, step: str, key: str) -> tuple[Artifact | None, str]:
        """Find a sound artifact, or say why there is none ("" where it never was)."""
        path = self.artifact_path(step, key)
        if not path.is_dir():
            return None, ""
        if not (path / MANIFEST).exists():
            return None, f"{MANIFEST} missing"
        try:
            artifact = self.artifact(step, key)
        except DataError as error:
            return None, error.message
        if artifact.key != key:
            return None, "its manifest has another key"
        damages = compare(path, artifact.manifest, self.digests)
        if damages:
            return None, f"{damages[0].file}: {damages[0].message}"
        return artifact, ""

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every artifact whose manifest can be read."""
        for manifest in sorted((self.root / "artifacts").glob(f"*/*/*/{MANIFEST}")):
            try:
                found = read_manifest(manifest.parent)
            except DataError:
                continue  # a damaged artifact is rebuilt when a plan wants it
            yield Artifact(
                str(found["step"]), str(found["key"]), str(found["digest"]), manifest.parent, found
            )

    def state(self, spec: Path) -> dict[str, str]:
        """Give the key of each step's last finished artifact for one spec file."""
        try:
            loaded: Any = json.loads(self._state_path(spec).read_text())
        except (OSError, ValueError):
            return {}
        return {str(step): str(key) for step, key in loaded.items()}

    def current(self, spec: Path) -> dict[str, Artifact]:
        """Open the last finished artifact of each step of a spec, as far as they are still here."""
        found: dict[str, Artifact] = {}
        for step, key in self.state(spec).items():
            try:
                found[step] = self.artifact(step, key)
            except DataError:
                continue  # collected or damaged: the next build makes it again
        return found

    def save_state(self, spec: Path, state: dict[str, str]) -> None:
        """Record which artifacts are current, in one rename."""
        path = self._state_path(spec)
        text = json.dumps(state, indent=1, sort_keys=True)
        if path.exists() and path.read_text() == text:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)

    def last(self, step: str, spec: Path) -> Artifact | None:
        """Find the artifact of a step that the last build of ``spec`` used, else the newest."""
        key = self.state(spec).get(step, "")
        if key:
            try:
                return self.artifact(step, key)
            except DataError:
                pass  # collected or damaged: an older one still explains the change
        folder = self.root / "artifacts" / folder_of(step)
        newest: Artifact | None = None
        for manifest in folder.glob(f"*/{MANIFEST}"):
            try:
                found = read_manifest(manifest.parent)
            except DataError:
                continue
            if newest is None or found["created"] > newest.manifest["created"]:
                newest = Artifact(
                    step, str(found["key"]), str(found["digest"]), manifest.parent, found
                )
        return newest

    def _state_path(self, spec: Path) -> Path:
        return self.root / "state" / f"{spec.name}.json"
