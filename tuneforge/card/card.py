"""The model card: README.md of an export. Equal inputs give equal text; it holds no dates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge.card.data import data_section
from tuneforge.card.evaluation import evaluation_section, results
from tuneforge.card.markdown import bullets, front_matter, section, table
from tuneforge.card.provenance import Lineage
from tuneforge.card.training import base_of, training_section
from tuneforge.card.usage import usage
from tuneforge.export.verify.report import Report
from tuneforge.step import Artifact

LIBRARY = {"gguf": "gguf", "ollama": "gguf", "adapter": "peft"}
SMOKE = "base.smoke"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from."""

    name: str
    format: str
    lineage: Lineage
    report: Report
    evaluations: Mapping[str, Artifact] = field(default_factory=dict)
    gates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    licenses: dict[str, str] = field(default_factory=dict)


def write_card(out: Path, facts: CardFacts) -> None:
    """Write README.md into an export's folder."""
    files = sorted(path.name for path in out.iterdir() if path.suffix == ".gguf")
    (out / "README.md").write_text(card(facts, files), "utf-8")


def card(facts: CardFacts, files: Sequence[str]) -> str:
    """Return the text of the card."""
    base = base_of(facts.lineage)
    sections = [
        front_matter(_front(facts, base)),
        f"# {facts.name}",
        _summary(facts, base),
        section("How to use", usage(facts.format, files)),
        evaluation_section(facts.evaluations, facts.gates),
        data_section(facts.lineage, facts.licenses),
        training_section(facts.lineage),
        _verification(facts.report),
        section("Limits", bullets(_limits(facts))),
        _origin(facts.lineage),
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


def _front(facts: CardFacts, base: Mapping[str, str]) -> dict[str, Any]:
    methods = {
        str(artifact.manifest.get("params", {}).get(f"{artifact.step}.method", ""))
        for artifact in facts.lineage.of_kind("train")
    }
    values: dict[str, Any] = {
        "base_model": base.get("id", ""),
        "library_name": LIBRARY.get(facts.format, "transformers"),
        "pipeline_tag": "text-generation",
        "tags": ["tuneforge", *sorted(methods - {""})],
    }
    found = results(facts.evaluations)
    if found:
        values["model-index"] = [{"name": facts.name, "results": found}]
    return {key: value for key, value in values.items() if value}


def _summary(facts: CardFacts, base: Mapping[str, str]) -> str:
    trains = [artifact.step for artifact in facts.lineage.of_kind("train")]
    merges = [artifact.step for artifact in facts.lineage.of_kind("merge")]
    if not facts.lineage.artifacts:
        return "Exported by Tuneforge from a model folder; how that was made is not recorded here."
    text = f"Made by Tuneforge from the base model `{base.get('id', 'unknown')}`"
    if base.get("architecture"):
        text += f" ({base['architecture']})"
    made = [*trains, *merges]
    text += f" through {', '.join(f'`{step}`' for step in made)}." if made else "."
    smoke = any(
        artifact.manifest.get("params", {}).get(SMOKE) for artifact in facts.lineage.of_kind("base")
    )
    if smoke:
        text += "\n\n**A smoke build on a tiny random model: it shows that the spec runs.**"
    return text


def _verification(report: Report) -> str:
    checks = table(
        ("file", "check", "read by", "result", "detail"),
        [
            (c.file, c.name, c.reader, "passed" if c.passed else "failed", c.detail)
            for c in report.checks
        ],
    )
    unverified = bullets(f"not verified: {reason}" for reason in report.unverified)
    return section("Verification", checks, unverified)


def _limits(facts: CardFacts) -> list[str]:
    limits = list(dict.fromkeys(facts.report.notes))
    if not facts.evaluations and facts.lineage.artifacts:
        limits.append("No evaluation was made in this build: its quality is unknown.")
    sources = [artifact.step.partition(".")[2] for artifact in facts.lineage.of_kind("source")]
    unknown = [name for name in sources if facts.licenses.get(name, "unknown") == "unknown"]
    if unknown:
        limits.append(f"The licence of these sources is unknown: {', '.join(unknown)}.")
    if facts.lineage.lost:
        lost = ", ".join(facts.lineage.lost)
        limits.append(f"No longer in the workspace, so not described here: {lost}.")
    if facts.lineage.artifacts:
        limits.append("The licence of the base model applies, too; read it before you publish.")
    return limits


def _origin(lineage: Lineage) -> str:
    steps = table(
        ("step", "key", "digest"),
        [(a.step, f"`{a.key[:16]}`", f"`{a.digest[:16]}`") for a in lineage.artifacts.values()],
    )
    seeds = {str(a.manifest.get("seed")) for a in lineage.artifacts.values()} - {"None"}
    libraries = ", ".join(f"{name} {version}" for name, version in lineage.libraries.items())
    return section(
        "Origin",
        steps,
        f"Libraries: {libraries}." if libraries else "",
        f"Seed: {', '.join(sorted(seeds))}." if seeds else "",
        "`manifest.json` has the digest of every file; `tuneforge verify` checks them.",
    )
