"""``tuneforge stop``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from tuneforge_specs.errors import UsageError

from tuneforge.cli.attach import In, Run

Checkpoint = Annotated[bool, typer.Option("--checkpoint", help="Only write a checkpoint now.")]
Pause = Annotated[bool, typer.Option("--pause", help="Only pause after this step.")]
Resume = Annotated[bool, typer.Option("--resume", help="Let a paused run go on.")]


def stop(
    run: Run = "",
    workspace: In = Path(".tuneforge"),
    *,
    checkpoint: Checkpoint = False,
    pause: Pause = False,
    resume: Resume = False,
) -> None:
    """Ask a run to stop after its current step; it writes a checkpoint, and a build resumes it."""
    from tuneforge.runs import Request, find_run, request

    choices: dict[Request, bool] = {"checkpoint": checkpoint, "pause": pause, "resume": resume}
    chosen = [name for name, given in choices.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", "give one of them")
    what: Request = chosen[0] if chosen else "stop"
    folder = find_run(workspace, run)
    request(folder, what)
    sys.stdout.write(f"{folder.parent.name}/{folder.name}: asked to {what}\n")
