"""The plan as a value: what each step will do, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tuneforge.plan.reasons import Reason
from tuneforge.step import Artifact, Step

Status = Literal["cached", "run", "pending"]


@dataclass(frozen=True)
class PlannedStep:
    """One step with its verdict.

    ``pending`` waits for an input that will be made again, and may then turn out to be cached.
    ``key`` is empty while an input's digest is unknown; ``external`` holds the digests of its
    files in reading order; ``seconds`` is what the step took last time, 0 if unknown.
    """

    step: Step
    status: Status
    version: int
    key: str = ""
    artifact: Artifact | None = None
    reasons: tuple[Reason, ...] = ()
    external: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Give the planned step as a JSON object."""
        return {
            "step": self.step.id,
            "status": self.status,
            "key": self.key,
            "reasons": [reason.as_json() for reason in self.reasons],
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Plan:
    """Every step of a build, in order."""

    name: str
    spec: Path
    workspace: Path
    steps: tuple[PlannedStep, ...]

    def __iter__(self) -> Iterator[PlannedStep]:
        return iter(self.steps)

    def __getitem__(self, step: str) -> PlannedStep:
        return next(planned for planned in self.steps if planned.step.id == step)

    @property
    def done(self) -> bool:
        """Whether nothing would run."""
        return all(planned.status == "cached" for planned in self.steps)
