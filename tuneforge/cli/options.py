"""Options that several commands share, and what opens a spec with them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from tuneforge_specs.errors import UsageError
from tuneforge_specs.loader import LoadedSpec, load

from tuneforge.workspace import Workspace

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key; may be repeated."),
]
WorkspacePath = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="Where to build; default: beside the spec."),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="STEP", help="Only this step and what it needs."),
]
Smoke = Annotated[
    bool,
    typer.Option("--smoke", help="The whole graph on a tiny random model and a few rows."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]

SPEC = Path("spec.toml")


def open_spec(
    spec: Path, sets: list[str] | None, workspace: Path | None, *, smoke: bool = False
) -> tuple[LoadedSpec, Workspace]:
    """Load a spec and its workspace; warnings about the spec go to stderr."""
    loaded = load(spec, sets or ())
    place = Workspace.of(loaded.path, workspace)
    if smoke:
        from tuneforge.build.smoke import shrink

        loaded, place = shrink(loaded), Workspace(place.root / "smoke")
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    return loaded, place


def write_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def write_file(path: Path, text: str) -> None:
    """Write a file that a user named; raise UsageError where that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file in a writable folder") from error
