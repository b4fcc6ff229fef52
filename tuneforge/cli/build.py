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
)

if TYPE_CHECKING:
    from tuneforge.build.result import BuildResult
    from tuneforge.cli.summary_file import SummaryFile


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
        typer.Option(
            "--summary", metavar="FILE", help="Write the summary as Markdown, however it ends."
        ),
    ] = None,
) -> None:
    """Bring everything the spec declares up to date.

    Ctrl-C stops cleanly; the same command goes on from there.
    """
    from tuneforge.build.result import BuildOptions
    from tuneforge.build.session import build as run_build
    from tuneforge.build.stdin import spool
    from tuneforge.cli.summary_file import SummaryFile
    from tuneforge.console.choose import choose

    with SummaryFile(summary, spec, smoke=smoke) as file:
        file.loaded, place = open_spec(spec, sets, workspace, smoke=smoke)
        spool(file.loaded.spec, place)
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
            result = run_build(file.loaded, place, console, options, file.begun)
        finally:
            console.close()
        if not json:
            _tell(file, result, everything=summary is not None)
        if result.error is not None:
            raise result.error


def _tell(file: "SummaryFile", result: "BuildResult", *, everything: bool) -> None:
    if not (everything or result.error or result.ran):
        sys.stdout.write(f"nothing to do: all {len(result.artifacts)} steps are cached\n")
        return
    from tuneforge.console.showing import show

    show(file.told(), sys.stdout)
