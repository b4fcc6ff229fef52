"""The card of a dataset's snapshot: what is in it, where it came from, what was left out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.card.markdown import bullets, front_matter, section, table
from tuneforge.card.provenance import read_json

if TYPE_CHECKING:
    from tuneforge_datastore.snapshot import Snapshot

CARD = "README.md"
_GUARD = (
    "A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return has an apostrophe "
    "before it, so that no spreadsheet runs it. Turns are joined to one text; Parquet and JSON "
    "Lines exports hold them as they are."
)


@dataclass(frozen=True)
class DatasetFacts:
    """What a dataset's card tells beside its rows."""

    name: str
    folder: Path
    workspace: Path
    licenses: Mapping[str, str] = field(default_factory=dict)


def dataset_card(facts: DatasetFacts, snapshot: "Snapshot") -> str:
    """Write the card: equal for equal datasets, with nothing of when or where it was written."""
    from tuneforge_datastore.snapshot import MEANINGS

    manifest = read_json(facts.folder / "manifest.json")
    total = sum(snapshot.records.values())
    sides = ", ".join(f"{count:,} {side}" for side, count in snapshot.records.items())
    parts = [
        front_matter(_front(facts, snapshot)),
        f"# {facts.name}",
        f"{total:,} {' and '.join(snapshot.kinds)} records ({sides}), curated by Tuneforge.",
        section("Sources", _sources(facts, manifest)),
        section("What was left out, and what was changed", _funnel(facts.folder)),
        section(
            "Columns",
            table(("column", "what it holds"), [(n, MEANINGS[n]) for n in snapshot.columns]),
            _GUARD if snapshot.form == "csv" else "",
        ),
        section("How it was made", _made(manifest)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(facts: DatasetFacts, snapshot: "Snapshot") -> dict[str, Any]:
    """Give the head that the Hugging Face hub reads: licence, and the file of each split."""
    files = [{"split": side, "path": snapshot.file(side)} for side in snapshot.records]
    known = sorted(set(facts.licenses.values()))
    head: dict[str, Any] = {"pretty_name": facts.name}
    if len(known) == 1:
        head["license"] = known[0].lower()
    return head | {"configs": [{"config_name": "default", "data_files": files}]}


def _sources(facts: DatasetFacts, manifest: dict[str, Any]) -> str:
    from tuneforge_datastore.snapshot import count_sources

    kept = count_sources(facts.folder)
    rows = []
    for role, entry in sorted(manifest.get("inputs", {}).items()):
        if not role.startswith("source."):
            continue
        name = role.removeprefix("source.")
        folder = facts.workspace / "artifacts" / "source" / name / entry["key"][:16]
        read = read_json(folder / "source.json")
        rows.append(
            (
                name,
                facts.licenses.get(name, "unknown"),
                read.get("records", "?"),
                read.get("rejected", "?"),
                kept.pop(name, 0),
            )
        )
    rows += [(name, facts.licenses.get(name, "unknown"), "?", "?", n) for name, n in kept.items()]
    return table(("source", "licence", "rows read", "rows refused", "kept"), rows)


def _funnel(folder: Path) -> str:
    steps = json.loads((folder / "funnel.json").read_text())
    return table(
        ("stage", "rule", "in", "dropped", "changed", "out"),
        [
            (s["stage"], s["rule"], s["in"], s["dropped"], s.get("changed", 0), s["out"])
            for s in steps
        ],
    )


def _made(manifest: dict[str, Any]) -> str:
    facts = [f"dataset digest `{manifest['digest']}`"] if "digest" in manifest else []
    params = manifest.get("params", {})
    return bullets([*facts, *(f"`{key}` = `{value}`" for key, value in sorted(params.items()))])
