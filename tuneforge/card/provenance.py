"""Every artifact that a result was made from, found through the manifests of its inputs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError

from tuneforge.step import Artifact
from tuneforge.workspace import Workspace


@dataclass(frozen=True)
class Lineage:
    """The artifacts behind a result by step id, each after its inputs.

    ``lost`` names those that a manifest lists but the workspace no longer has.
    """

    artifacts: dict[str, Artifact]
    lost: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> Iterator[Artifact]:
        """Yield the artifacts of one kind of step, in order."""
        for step, artifact in self.artifacts.items():
            if step.partition(".")[0] == kind:
                yield artifact

    def behind(self, artifact: Artifact) -> "Lineage":
        """Return the part of this lineage that one artifact was made from, itself included."""
        steps: dict[str, Artifact] = {}

        def visit(step: str) -> None:
            found = self.artifacts.get(step)
            if found is None or step in steps:
                return
            for entry in found.manifest.get("inputs", {}).values():
                visit(entry["step"])
            steps[step] = found

        visit(artifact.step)
        return Lineage(steps)

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that took part; of several, the latest step's."""
        versions: dict[str, str] = {}
        for artifact in self.artifacts.values():
            versions |= artifact.manifest.get("libraries", {})
        return dict(sorted(versions.items()))


def lineage(workspace: Workspace, inputs: Iterable[Artifact]) -> Lineage:
    """Follow manifests from ``inputs`` back to the sources."""
    artifacts: dict[str, Artifact] = {}
    lost: list[str] = []

    def visit(artifact: Artifact) -> None:
        if artifact.step in artifacts:
            return
        for entry in artifact.manifest.get("inputs", {}).values():
            try:
                found = workspace.artifact(entry["step"], entry["key"])
            except DataError:
                # Collected since: the result stands, but what it came from can only be named.
                if entry["step"] not in lost:
                    lost.append(entry["step"])
                continue
            visit(found)
        artifacts[artifact.step] = artifact

    for artifact in inputs:
        visit(artifact)
    return Lineage(artifacts, tuple(lost))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of an artifact, an empty table where there is none."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
