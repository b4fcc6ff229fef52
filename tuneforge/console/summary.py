"""What is told at the end of a build, as a value: read from its artifacts, shown elsewhere."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import Interrupted, TuneforgeError
from tuneforge_specs.loader import LoadedSpec

from tuneforge.build.commit import size_of
from tuneforge.build.failures import as_user_error
from tuneforge.build.gates import METRICS, GateResult
from tuneforge.build.result import BuildResult
from tuneforge.evaluate.trained import deviation_text
from tuneforge.step import Artifact

SAMPLES = 2
LOWER_IS_BETTER = ("loss", "perplexity")


@dataclass(frozen=True)
class Stage:
    """One stage of a funnel, named by its rule."""

    name: str
    taken: int
    dropped: int
    left: int


@dataclass(frozen=True)
class Measured:
    """One metric before (base) and after; ``base`` is None where it was not measured."""

    metric: str
    base: float | None
    tuned: float

    @property
    def better(self) -> bool:
        """Whether the tuned model is the better one."""
        if self.base is None:
            return False
        lower = self.metric.split("@")[0] in LOWER_IS_BETTER
        return self.tuned < self.base if lower else self.tuned > self.base


@dataclass(frozen=True)
class Sample:
    """One prompt with what the reference, the base and the tuned model say."""

    prompt: str
    reference: str
    base: str
    tuned: str


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation measured."""

    name: str
    model: str
    rows: int
    measured: tuple[Measured, ...]
    gates: tuple[GateResult, ...]
    samples: tuple[Sample, ...]
    trained: str = ""  # how far a merge is from the model that was trained


@dataclass(frozen=True)
class Place:
    """Something a user looks for: where it is, and its size."""

    what: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Failure:
    """What ended a build, as it is told on stderr."""

    message: str
    fix: str
    exit_code: int


@dataclass(frozen=True)
class Summary:
    """A build that has ended, well or not."""

    name: str
    seconds: float
    steps: tuple[tuple[str, float], ...]
    cached: int
    funnels: dict[str, tuple[Stage, ...]] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    places: tuple[Place, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    smoke: bool = False
    failure: Failure | None = None


def failure_of(error: BaseException) -> Failure:
    """Say what ended a build; what is neither a user's nor the machine's fault is a bug."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", "the same command goes on from there", Interrupted.exit_code)
    told = error if isinstance(error, TuneforgeError) else as_user_error("build", error, None)
    if isinstance(told, TuneforgeError):
        return Failure(told.message, told.fix, told.exit_code)
    return Failure(f"{type(error).__name__}: {error}", "this is a bug", 1)


def summarise(
    loaded: LoadedSpec,
    result: BuildResult,
    *,
    smoke: bool = False,
    error: BaseException | None = None,
) -> Summary:
    """Read what a person wants to know from the artifacts of a build, and what ended it."""
    found = result.artifacts
    ended = result.error if error is None else error
    return Summary(
        name=loaded.spec.build.name,
        seconds=result.seconds,
        steps=tuple(result.ran.items()),
        cached=len(found) - len(result.ran),
        funnels={
            name: _funnel(found[f"dataset.{name}"].path)
            for name in loaded.spec.datasets
            if f"dataset.{name}" in found
        },
        evaluations=tuple(
            _evaluation(name, found[f"evaluate.{name}"], loaded, result)
            for name in loaded.spec.evaluate
            if f"evaluate.{name}" in found
        ),
        places=_places(loaded, result),
        warnings=tuple(dict.fromkeys(result.warnings)),
        skipped=tuple(result.skipped.items()),
        failed=tuple(result.failed.items()),
        smoke=smoke,
        failure=None if ended is None else failure_of(ended),
    )


def _funnel(folder: Path) -> tuple[Stage, ...]:
    rows = json.loads((folder / "funnel.json").read_text())
    return tuple(Stage(_stage(row), row["in"], row["dropped"], row["out"]) for row in rows)


def _stage(row: dict[str, Any]) -> str:
    changed = row.get("changed")
    return f"{row['rule']} ({changed:,} changed)" if changed else str(row["rule"])


def _evaluation(
    name: str, artifact: Artifact, loaded: LoadedSpec, result: BuildResult
) -> Evaluation:
    read: dict[str, Any] = json.loads((artifact.path / METRICS).read_text())
    base = read.get("base") or {}
    measured = tuple(
        Measured(metric, base.get(metric), value)
        for metric, value in read["metrics"].items()
        if isinstance(value, int | float)
    )
    return Evaluation(
        name,
        loaded.spec.evaluate[name].model,
        int(read.get("rows", 0)),
        measured,
        tuple(gate for gate in result.gates if gate.evaluation == name),
        _samples(artifact.path / "samples.parquet"),
        deviation_text(read["trained"]) if "trained" in read else "",
    )


def _samples(path: Path) -> tuple[Sample, ...]:
    if not path.is_file():
        return ()
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    if "output" not in file.schema_arrow.names:
        return ()  # only losses were measured
    table = next(file.iter_batches(batch_size=SAMPLES), None)
    rows = [] if table is None else table.to_pylist()
    return tuple(
        Sample(
            str(row.get("prompt") or ""),
            str(row.get("reference") or ""),
            str(row.get("base_output") or ""),
            str(row.get("output") or ""),
        )
        for row in rows
    )


def _places(loaded: LoadedSpec, result: BuildResult) -> tuple[Place, ...]:
    workspace = result.folder.parent.parent
    places = [
        (f"export {name}", workspace / "exports" / name, result.artifacts[f"export.{name}"])
        for name in loaded.spec.export
        if f"export.{name}" in result.artifacts
    ]
    if not places:
        places = [
            (step, artifact.path, artifact)
            for step, artifact in result.artifacts.items()
            if step.startswith(("merge.", "train."))
        ]
    told = [Place(what, path, size_of(found.path)) for what, path, found in places]
    return (*told, Place("log", result.folder / "events.jsonl", 0))
