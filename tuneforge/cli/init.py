"""``tuneforge init``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from tuneforge_specs.errors import UsageError
from tuneforge_specs.recipes import recipe as find_recipe
from tuneforge_specs.recipes import recipes


def init(
    target: Annotated[Path, typer.Argument(help="The spec file to write.")] = Path("spec.toml"),
    *,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME", help="What to start from.")
    ] = "sft-lora",
    show: Annotated[
        bool, typer.Option("--list", help="List the recipes and write nothing.")
    ] = False,
) -> None:
    """Start a new spec from a recipe."""
    if show:
        found = recipes()
        width = max(map(len, found))
        for entry in found.values():
            sys.stdout.write(f"{entry.name:<{width}}  {entry.summary}\n")
        return
    text = find_recipe(recipe).text
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{target} is there already", "name another file") from None
    except OSError as error:
        raise UsageError(
            f"{target}: {error.strerror}", "name a file in a writable folder"
        ) from error
    sys.stdout.write(f"wrote {target}; next: tuneforge plan {target}\n")
