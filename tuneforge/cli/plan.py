"""``tuneforge plan``."""

import sys
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
    write_json,
)

if TYPE_CHECKING:
    from tuneforge_specs.loader import LoadedSpec

    from tuneforge.plan.definition import Plan
    from tuneforge.plan.forecast import Forecast


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
    vram: Annotated[
        str, typer.Option("--vram", metavar="SIZE", help="Judge for a GPU of this size, as 20GB.")
    ] = "",
    price: Annotated[
        float, typer.Option("--price", metavar="P", min=0.0, help="Price of an hour, for the cost.")
    ] = 0.0,
    json: AsJson = False,
) -> None:
    """Show what a build would do, why, whether it fits and what it takes; nothing runs."""
    from tuneforge.build.lockfile import lock_path, pins, read_lock
    from tuneforge.plan.builder import Wanted, make_plan
    from tuneforge.plan.explain import plan_lines
    from tuneforge.plan.foretell import forecast_lines

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
    takes = _forecast(made, loaded, vram, price)
    if json:
        steps = [planned.as_json() for planned in made]
        write_json({"name": made.name, "steps": steps, "forecast": takes.as_json()})
        return
    lines = [*plan_lines(made), *forecast_lines(takes, nothing_to_do=made.done)]
    sys.stdout.write("\n".join(lines) + "\n")


def _forecast(made: "Plan", loaded: "LoadedSpec", vram: str, price: float) -> "Forecast":
    from tuneforge.device import Device, detect
    from tuneforge.fit import parse_size
    from tuneforge.plan.forecast import forecast

    budget = parse_size(vram) if vram else 0
    # A plan with nothing to do needs no look at the device.
    device = Device("cpu", "", 0) if made.done else detect()
    return forecast(made, loaded.spec, device, budget=budget, price=price)
