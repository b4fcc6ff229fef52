"""The card's account of evaluations: tuned beside base, and what the gates said."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.build.gates import check_gates
from tuneforge.card.markdown import section, table
from tuneforge.card.provenance import read_json
from tuneforge.evaluate.trained import deviation_text
from tuneforge.step import Artifact


def evaluation_section(
    evaluations: Mapping[str, Artifact], gates: Mapping[str, Sequence[str]]
) -> str:
    """Return a table for each evaluation; ``gates`` are the spec's, by evaluation."""
    parts = []
    for name, artifact in sorted(evaluations.items()):
        measured = read_json(artifact.path / "metrics.json")
        base = measured.get("base", {})
        rows = [(metric, base.get(metric, ""), value) for metric, value in _numbers(measured)]
        parts += [f"### `{name}`", table(("metric", "base", "this model"), rows)]
        if "trained" in measured:
            parts.append(deviation_text(measured["trained"]))
        verdicts = [
            (f"`{gate.expression}`", gate.value, "passed" if gate.passed else "failed")
            for gate in check_gates(name, gates.get(name, ()), artifact.path)
        ]
        parts.append(table(("gate", "measured", "verdict"), verdicts))
    return section("Evaluation", *parts)


def _numbers(measured: Mapping[str, Any]) -> list[tuple[str, float]]:
    metrics = measured.get("metrics", {}).items()
    return sorted((name, value) for name, value in metrics if isinstance(value, (int, float)))


def results(evaluations: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Return the hub's `model-index` entries."""
    entries = []
    for name, artifact in sorted(evaluations.items()):
        measured = read_json(artifact.path / "metrics.json")
        metrics = [
            {"type": metric, "value": round(value, 6)} for metric, value in _numbers(measured)
        ]
        if metrics:
            entries.append(
                {
                    "task": {"type": "text-generation"},
                    "dataset": {"name": name, "type": "held-out"},
                    "metrics": metrics,
                }
            )
    return entries
