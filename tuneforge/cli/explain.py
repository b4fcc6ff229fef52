"""``tuneforge explain``."""

import sys
from typing import Annotated

import typer

from tuneforge.cli.options import (
    AsJson,
    Sets,
    WorkspacePath,
    open_spec,
    write_json,
)


def explain(
    first: Annotated[str, typer.Argument(metavar="[SPEC] STEP", help="The step, or the spec.")],
    second: Annotated[str, typer.Argument(metavar="", hidden=True)] = "",
    *,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    json: AsJson = False,
) -> None:
    """Say why a step is cached or would run, what it depends on, and where its output is."""
    from pathlib import Path

    from tuneforge.build.lockfile import lock_path, pins, read_lock
    from tuneforge.plan.builder import Wanted, make_plan
    from tuneforge.plan.explain import step_lines
    from tuneforge.plan.targets import find_step

    spec, step = (Path(first), second) if second else (Path("spec.toml"), first)
    loaded, place = open_spec(spec, sets, workspace)
    made = make_plan(loaded, place, Wanted(pins=pins(read_lock(lock_path(loaded.path)))))
    planned = made[find_step([p.step for p in made], step)]
    if json:
        write_json(
            {
                **planned.as_json(),
                "params": dict(planned.step.params),
                "inputs": dict(planned.step.inputs),
                "files": {role: str(path) for role, path in planned.step.files.items()},
                "artifact": str(planned.artifact.path) if planned.artifact else "",
            }
        )
        return
    sys.stdout.write("\n".join(step_lines(planned, loaded)) + "\n")
