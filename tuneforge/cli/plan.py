"""``tuneforge plan``."""

import sys
from typing import Annotated

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
    write_json,
)


def plan(
    spec: SpecPath = SPEC,
    *,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    only: Only = None,
    force: Annotated[
        list[str] | None, typer.Option("--force", metavar="STEP", help="As for build.")
    ] = None,
    smoke: Smoke = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the spec with every default filled in.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show what a build would do and why; nothing runs."""
    from tuneforge.build.lockfile import lock_path, pins, read_lock
    from tuneforge.plan.builder import Wanted, make_plan
    from tuneforge.plan.explain import plan_lines

    loaded, place = open_spec(spec, sets, workspace, smoke=smoke)
    if resolved:
        if json:
            write_json(loaded.resolved)
        else:
            from tuneforge_specs.write import to_toml

            sys.stdout.write(to_toml(loaded.resolved))
        return
    locked = pins(read_lock(lock_path(loaded.path)))
    wanted = Wanted(tuple(only or ()), tuple(force or ()), locked, smoke)
    made = make_plan(loaded, place, wanted)
    if json:
        write_json({"name": made.name, "steps": [planned.as_json() for planned in made]})
        return
    sys.stdout.write("\n".join(plan_lines(made)) + "\n")
