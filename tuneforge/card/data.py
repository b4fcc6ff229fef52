"""The card's account of the data: sources, licences, and what happened to every record."""

from typing import Any

from tuneforge.card.markdown import bullets, section, table
from tuneforge.card.provenance import Lineage, read_json
from tuneforge.step import Artifact


def data_section(lineage: Lineage, licenses: dict[str, str]) -> str:
    """Return sources with their licences, then the funnel and rendering of each dataset."""
    rows = []
    for artifact in lineage.of_kind("source"):
        facts = read_json(artifact.path / "source.json")
        name = artifact.step.partition(".")[2]
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(facts.get("kinds", {}).items()))
        licence = licenses.get(name, "unknown")
        rows.append((name, licence, facts.get("records", "?"), facts.get("rejected", "?"), kinds))
    sources = table(("source", "licence", "rows read", "rows refused", "kinds"), rows)
    datasets = [_dataset(artifact, lineage) for artifact in lineage.of_kind("dataset")]
    return section("Data", sources, *datasets)


def _dataset(artifact: Artifact, lineage: Lineage) -> str:
    name = artifact.step.partition(".")[2]
    funnel = read_json(artifact.path / "funnel.json") or []
    stages = table(
        ("stage", "rule", "in", "dropped", "out"),
        [(s["stage"], s["rule"], s["in"], s["dropped"], s["out"]) for s in funnel],
    )
    parts = [f"### Dataset `{name}`", stages]
    rendering = lineage.artifacts.get(f"render.{name}")
    if rendering is not None:
        parts.append(_rendering(read_json(rendering.path / "rendering.json")))
    params = _params(artifact)
    return "\n\n".join(part for part in [*parts, params] if part)


def _rendering(facts: dict[str, Any]) -> str:
    counts = facts.get("counts", {})
    shown = ", ".join(f"{key.replace('_', ' ')} {n:,}" for key, n in sorted(counts.items()))
    return f"Rendered for `{facts.get('mode')}`, at most {facts.get('max_tokens')} tokens: {shown}."


def _params(artifact: Artifact) -> str:
    params = artifact.manifest.get("params", {})
    return bullets(f"`{key}` = `{value}`" for key, value in sorted(params.items()))
