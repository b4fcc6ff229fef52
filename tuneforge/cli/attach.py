"""``tuneforge attach``."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneforge.cli.options import AsJson

Run = Annotated[
    str,
    typer.Argument(metavar="[RUN]", help="A step id or run folder; default: the one that runs."),
]
In = Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The workspace to look in.")]


def attach(run: Run = "", workspace: In = Path(".tuneforge"), *, json: AsJson = False) -> None:
    """Follow a run again. Ctrl-C detaches; the run goes on."""
    from tuneforge.runs import Watch, failure, find_run

    folder = find_run(workspace, run)
    try:
        for event in Watch(folder):
            sys.stdout.write((json_text.dumps(event) if json else line(event)) + "\n")
            sys.stdout.flush()
            if event["event"] in ("failed", "stopped"):
                raise failure(event)
    except KeyboardInterrupt:
        sys.stderr.write(f"detached; the run goes on (tuneforge stop {folder} ends it)\n")


def line(event: dict[str, Any]) -> str:
    """Write an event as one line for people."""
    named = event["event"]
    values = {k: v for k, v in event.items() if k not in ("v", "t", "event") and v is not None}
    if named == "step":
        head = f"step {values.pop('step')}/{values.pop('steps')}"
        shown = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "eta_seconds")
        return "  ".join([head, *(f"{k} {values[k]:.4g}" for k in shown if k in values)])
    if named in ("log", "warning"):
        return f"{'warning: ' if named == 'warning' else ''}{values['message']}"
    if named == "done":
        return f"done  {_fields(values.get('summary', {}))}"
    return f"{named}  {_fields(values)}".rstrip()


def _fields(values: dict[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
