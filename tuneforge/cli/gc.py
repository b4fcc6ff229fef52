"""``tuneforge gc``."""

import sys
from typing import Annotated

import typer
from tuneforge_specs.errors import UsageError

from tuneforge.cli.options import (
    SPEC,
    AsJson,
    SpecPath,
    WorkspacePath,
    open_spec,
    write_json,
)


def gc(
    spec: SpecPath = SPEC,
    *,
    workspace: WorkspacePath = None,
    keep: Annotated[
        int, typer.Option("--keep", help="Keep this many superseded artifacts of each step.")
    ] = 0,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; else only list.")] = False,
    json: AsJson = False,
) -> None:
    """List (or delete) what neither the spec nor the last builds need: artifacts, runs, caches."""
    from tuneforge.build.collect import find_garbage, remove
    from tuneforge.build.lockfile import lock_path, pins, read_lock
    from tuneforge.build.standing import running_builds
    from tuneforge.console.text import size
    from tuneforge.plan.builder import Wanted, make_plan

    loaded, place = open_spec(spec, None, workspace)
    made = make_plan(loaded, place, Wanted(pins=pins(read_lock(lock_path(loaded.path)))))
    garbage = find_garbage(place, [made], keep=keep)
    if delete:
        if builds := running_builds(place):
            raise UsageError(
                f"build {builds[0].id} is running and may need what would be deleted",
                "let it end, or stop it",
            )
        remove(garbage)
    if json:
        write_json(
            {
                "deleted": delete,
                "folders": [{"path": str(g.path), "bytes": g.bytes} for g in garbage],
            }
        )
        return
    for entry in garbage:
        sys.stdout.write(f"{size(entry.bytes):>9}  {entry.path}\n")
    total = size(sum(entry.bytes for entry in garbage))
    done = "deleted" if delete else "would be deleted (with --delete)"
    sys.stdout.write(f"{len(garbage)} folders and files, {total}, {done}\n")
