"""The contract between the build graph and the code of a step.

A step kind is one module ``tuneforge.steps.<kind>`` with ``VERSION: int`` (raised when its output
changes for the same input) and ``run(context: StepContext) -> None``. Importing the module must be
cheap: heavy libraries load inside ``run``, torch only in worker processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneforge_specs.spec import Spec

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One node of the build graph.

    ``id`` is ``kind.name`` (``base`` alone for the base model). ``params`` maps spec key paths to
    canonical values: all that the step's output depends on besides its inputs. ``inputs`` maps a
    role to the id of the step that fills it; ``files`` maps a role to an external path.
    """

    id: str
    kind: str
    name: str
    params: Mapping[str, Json]
    inputs: Mapping[str, str]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A finished, immutable output folder; ``digest`` is the hash of its files."""

    step: str
    key: str
    digest: str
    path: Path
    manifest: Mapping[str, Any]


class Reporter(Protocol):
    """Where a step says what it does; the console decides how that looks."""

    def progress(self, done: float, total: float, unit: str = "") -> None:
        """Say how far the step is; ``total`` 0 means unknown."""

    def log(self, message: str) -> None:
        """Say one line for the log."""

    def warn(self, message: str) -> None:
        """Say one line that a user should read; it is repeated in the summary."""

    def metrics(self, values: Mapping[str, float | int | str]) -> None:
        """Give live values (loss, tokens_per_second, memory_bytes, ...)."""


@dataclass
class StepContext:
    """What ``run`` gets. It writes its output under ``out`` and nothing elsewhere but run folders.

    ``notes`` takes facts that vary between equal runs (times, devices, measured memory): they go
    into the manifest, outside the digest.
    """

    step: Step
    spec: Spec
    spec_dir: Path
    workspace: Path
    key: str
    out: Path
    inputs: Mapping[str, Artifact]
    report: Reporter
    seed: int
    threads: int
    notes: dict[str, Any] = field(default_factory=dict)
