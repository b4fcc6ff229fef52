"""What a build was asked to do, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuneforge_specs.errors import GateFailed

from tuneforge.build.gates import GateResult
from tuneforge.plan.definition import Plan
from tuneforge.step import Artifact


@dataclass(frozen=True)
class BuildOptions:
    """How to build. ``targets`` empty means everything; ``force`` runs steps that are cached."""

    targets: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    frozen: bool = False
    smoke: bool = False
    keep_going: bool = False
    enforce_gates: bool = True
    write_lock: bool = True


@dataclass
class BuildResult:
    """How a build ended: artifacts, seconds of what ran, what was left out and why."""

    id: str
    plan: Plan
    folder: Path
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    ran: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    error: GateFailed | None = None

    @property
    def failed_gates(self) -> list[GateResult]:
        """The gates that did not pass."""
        return [gate for gate in self.gates if not gate.passed]

    def as_json(self) -> Mapping[str, object]:
        """Give the end of a build as a JSON object."""
        return {
            "build": self.id,
            "seconds": round(self.seconds, 3),
            "ran": {step: round(seconds, 3) for step, seconds in self.ran.items()},
            "cached": [step for step in self.artifacts if step not in self.ran],
            "skipped": self.skipped,
            "gates": [
                {
                    "evaluation": gate.evaluation,
                    "expression": gate.expression,
                    "value": gate.value,
                    "passed": gate.passed,
                }
                for gate in self.gates
            ],
            "warnings": [{"step": step, "message": text} for step, text in self.warnings],
            "artifacts": {step: str(found.path) for step, found in self.artifacts.items()},
        }
