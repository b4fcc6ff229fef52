"""Plans in words; separate from making them, so that each can be tested alone."""

from collections.abc import Iterator

from tuneforge.console.text import seconds
from tuneforge.plan.definition import Plan, PlannedStep

MARKS = {"cached": "cached ", "run": "run    ", "pending": "pending"}
LISTED = 6


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
