"""``tuneforge runs``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuneforge.cli.options import AsJson, write_json


def runs(
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="The workspace to look in.")
    ] = Path(".tuneforge"),
    *,
    json: AsJson = False,
) -> None:
    """List training runs, the newest first."""
    from tuneforge.runs import status

    found = sorted(
        (status(path.parent) for path in workspace.absolute().glob("runs/*/*/job.json")),
        key=lambda run: run.updated,
        reverse=True,
    )
    if json:
        write_json(
            [
                {
                    "run": str(run.path),
                    "state": run.state,
                    "kind": run.kind,
                    "step": run.step,
                    "steps": run.steps,
                    "pid": run.worker.pid,
                    "updated": run.updated,
                    "message": run.message,
                }
                for run in found
            ]
        )
        return
    for run in found:
        progress = f"{run.step}/{run.steps}" if run.steps else ""
        name = f"{run.path.parent.name}/{run.path.name}"
        sys.stdout.write(f"{run.state:<8} {progress:>11}  {name}  {run.message}".rstrip() + "\n")
    if not found:
        sys.stdout.write("no runs\n")
