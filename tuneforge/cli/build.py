"""``tuneforge build``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneforge.cli.options import (
    SPEC,
    AsJson,
    Only,
    Sets,
    Smoke,
    SpecPath,
    WorkspacePath,
    open_spec,
    write_file,
)

if TYPE_CHECKING:
    from tuneforge_specs.loader import LoadedSpec

    from tuneforge.build.result import BuildResult


def build(
    spec: SpecPath = SPEC,
    *,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    only: Only = None,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="STEP", help="Run this step though it is cached."),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Fail (7) where anything differs from the lock file.")
    ] = False,
    smoke: Smoke = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="After a failure, do what does not depend on it.")
    ] = False,
    json: AsJson = False,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", metavar="FILE", help="Write the summary as Markdown."),
    ] = None,
) -> None:
    """Bring everything the spec declares up to date.

    Ctrl-C stops cleanly; the same command goes on from there.
    """
    from tuneforge.build.result import BuildOptions
    from tuneforge.build.session import build as run_build
    from tuneforge.build.stdin import spool
    from tuneforge.console.choose import choose

    loaded, place = open_spec(spec, sets, workspace, smoke=smoke)
    spool(loaded.spec, place)
    options = BuildOptions(
        targets=tuple(only or ()),
        force=tuple(force or ()),
        frozen=frozen,
        smoke=smoke,
        keep_going=keep_going,
        enforce_gates=not smoke,
        write_lock=not sets and not smoke,
    )
    console = choose(json=json)
    try:
        result = run_build(loaded, place, console, options)
    finally:
        console.close()
    if summary is not None or (result.error and not json) or (result.ran and not json):
        _tell(loaded, result, summary, quiet=json, smoke=smoke)
    elif not json:
        sys.stdout.write(f"nothing to do: all {len(result.artifacts)} steps are cached\n")
    if result.error is not None:
        raise result.error


def _tell(
    loaded: "LoadedSpec", result: "BuildResult", file: Path | None, *, quiet: bool, smoke: bool
) -> None:
    from tuneforge.console.summary import summarise

    told = summarise(loaded, result, smoke=smoke)
    if file is not None:
        from tuneforge.console.markdown import as_markdown

        write_file(file, as_markdown(told))
    if not quiet:
        from tuneforge.console.showing import show

        show(told, sys.stdout)
