"""Plans in words; separate from making them, so that each can be tested alone."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from tuneforge_specs.loader import LoadedSpec

from tuneforge.console.text import seconds
from tuneforge.plan.definition import Plan, PlannedStep

MARKS = {"cached": "cached ", "run": "run    ", "pending": "pending"}
HEADLINES = {
    "cached": "cached",
    "run": "would run",
    "pending": "would run only if an input comes out different",
}
LISTED = 6
FILES = 20


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield a plan line by line: a step, then why it would run."""
    width = max((len(planned.step.id) for planned in plan), default=0)
    for planned in plan:
        took = f"  last time {seconds(planned.seconds)}" if planned.seconds else ""
        if planned.status == "cached":
            took = ""
        yield f"{MARKS[planned.status]}  {planned.step.id:<{width}}{took}".rstrip()
        yield from (f"           {line}" for line in reason_lines(planned))
    yield verdict(plan)


def reason_lines(planned: PlannedStep) -> Iterator[str]:
    """Yield why a step runs, the first few reasons in full."""
    reasons = [str(reason) for reason in planned.reasons if reason.kind != "waits"]
    waits = [reason.subject for reason in planned.reasons if reason.kind == "waits"]
    yield from reasons[:LISTED]
    if len(reasons) > LISTED:
        yield f"and {len(reasons) - LISTED} more (tuneforge explain {planned.step.id})"
    if waits and planned.status == "pending":
        yield f"if the output of {', '.join(waits)} changes"


def verdict(plan: Plan) -> str:
    """Sum a plan up in a line."""
    if plan.done:
        return f"nothing to do: all {len(plan.steps)} steps are cached"
    counts = [sum(p.status == status for p in plan) for status in ("run", "pending", "cached")]
    return f"{counts[0]} to run, {counts[1]} pending, {counts[2]} cached"


def step_lines(planned: PlannedStep, loaded: LoadedSpec) -> Iterator[str]:
    """Yield all that is known about one step."""
    step = planned.step
    yield f"{step.id}: {HEADLINES[planned.status]}"
    yield from (f"  because: {reason}" for reason in planned.reasons)
    if planned.key:
        yield f"  key:     {planned.key[:16]}, step code version {planned.version}"
    if planned.artifact is not None:
        manifest = planned.artifact.manifest
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest["created"]))
        yield f"  made:    {made} in {seconds(planned.seconds)}"
        yield f"  digest:  {planned.artifact.digest[:16]}"
        yield f"  where:   {planned.artifact.path}"
    if step.inputs:
        yield "  inputs:"
        yield from (f"    {role:<16} {of}" for role, of in step.inputs.items())
    if step.files:
        yield "  files:"
        yield from (
            f"    {role}  {planned.external[role][:16]}" for role in list(step.files)[:FILES]
        )
        if len(step.files) > FILES:
            yield f"    and {len(step.files) - FILES} more"
    yield "  parameters:"
    for key, value in step.params.items():
        yield f"    {key} = {json.dumps(value, ensure_ascii=False)}{_written(key, loaded)}"


def _written(key: str, loaded: LoadedSpec) -> str:
    try:
        file, line = loaded.position(key)
    except (KeyError, ValueError):
        return ""
    return f"   ({Path(file).name}:{line})" if line else ""
