"""``tuneforge verify``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuneforge.cli.options import AsJson, write_json


def verify(
    folder: Annotated[Path, typer.Argument(help="A folder with a manifest.json.")],
    *,
    json: AsJson = False,
) -> None:
    """Hash every file of a folder again and compare with its manifest; exit 3 where they differ."""
    from tuneforge_specs.errors import DataError

    from tuneforge.manifest import compare, read_manifest

    manifest = read_manifest(folder)
    damages = compare(folder, manifest)
    if json:
        found = [vars(damage) for damage in damages]
        write_json({"step": manifest["step"], "digest": manifest["digest"], "damages": found})
    if damages:
        lines = "\n".join(f"  {damage.file}: {damage.message}" for damage in damages)
        raise DataError(f"{folder} is not what was built:\n{lines}", "build or copy it again")
    if not json:
        count = len(manifest["files"])
        sys.stdout.write(
            f"{manifest['step']}: {count} {'file' if count == 1 else 'files'} as built, "
            f"digest {manifest['digest'][:16]}\n"
        )
