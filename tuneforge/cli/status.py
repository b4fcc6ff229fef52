"""``tuneforge status``."""

import sys

from tuneforge.cli.options import (
    SPEC,
    AsJson,
    Sets,
    SpecPath,
    WorkspacePath,
    open_spec,
    write_json,
)


def status(
    spec: SpecPath = SPEC,
    *,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    json: AsJson = False,
) -> None:
    """Show what is built, what would run, and what is running."""
    from tuneforge.build.lockfile import lock_path, pins, read_lock
    from tuneforge.build.standing import running_builds, running_workers
    from tuneforge.plan.builder import Wanted, make_plan
    from tuneforge.plan.explain import MARKS, verdict

    loaded, place = open_spec(spec, sets, workspace)
    made = make_plan(loaded, place, Wanted(pins=pins(read_lock(lock_path(loaded.path)))))
    builds, workers = running_builds(place), running_workers(place)
    if json:
        write_json(
            {
                "name": made.name,
                "steps": [planned.as_json() for planned in made],
                "builds": [{"build": b.id, "pid": b.pid, "step": b.step} for b in builds],
                "runs": [
                    {"run": str(w.path), "state": w.state, "step": w.step, "steps": w.steps}
                    for w in workers
                ],
            }
        )
        return
    for planned in made:
        where = "" if planned.artifact is None else str(planned.artifact.path)
        sys.stdout.write(f"{MARKS[planned.status]}  {planned.step.id:<28}  {where}".rstrip() + "\n")
    for build in builds:
        at = f" at {build.step}" if build.step else ""
        sys.stdout.write(f"running  build {build.id} (pid {build.pid}){at}\n")
    for worker in workers:
        done = f"{worker.step}/{worker.steps} steps" if worker.steps else worker.state
        sys.stdout.write(f"running  {worker.path.parent.name}: {done}  {worker.path}\n")
    sys.stdout.write(verdict(made) + "\n")
