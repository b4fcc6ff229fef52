"""The gates of an evaluation, checked against what it measured."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneforge_specs.errors import DataError
from tuneforge_specs.gates import parse_gate

METRICS = "metrics.json"


@dataclass(frozen=True)
class GateResult:
    """One gate with the measured value and the bound it was held against."""

    evaluation: str
    expression: str
    value: float
    bound: float
    passed: bool

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "failed"
        return f"{self.evaluation}: {self.expression} {verdict}: {self.value:.4g}"


def check_gates(evaluation: str, gates: Sequence[str], artifact: Path) -> Iterator[GateResult]:
    """Yield the result of each gate; raise DataError where it names what was not measured."""
    if not gates:
        return
    measured = json.loads((artifact / METRICS).read_text())
    metrics, base = measured["metrics"], measured.get("base", {})
    for text in gates:
        gate = parse_gate(text)
        if gate.metric not in metrics:
            raise DataError(
                f"evaluate.{evaluation}.gate: `{text}` names {gate.metric}, which was not measured",
                f"measured were: {', '.join(sorted(metrics))}",
            )
        value, reference = metrics[gate.metric], base.get(gate.metric)
        if gate.relative and reference is None:
            raise DataError(
                f"evaluate.{evaluation}.gate: `{text}` needs {gate.metric} of the base, "
                "which was not measured",
                "compare with a number instead",
            )
        passed = gate.passes(value, reference)
        yield GateResult(evaluation, text, value, gate.bound(reference), passed)
