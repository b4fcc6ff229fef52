"""The plan as the step tree shows it."""

from pathlib import Path

from tuneforge_specs.loader import load

from tuneforge.plan.builder import make_plan
from tuneforge.plan.definition import Plan
from tuneforge.workspace import Workspace
from tuneforge_tui.state import StepView


def plan_of(spec: Path, workspace: Workspace) -> Plan:
    """Load the spec and plan it; raise TuneforgeError where that cannot be done."""
    return make_plan(load(spec), workspace)


def views(plan: Plan) -> list[StepView]:
    """Turn a plan into the steps of the tree."""
    return [
        StepView(
            planned.step.id,
            "cached" if planned.status == "cached" else "planned",
            "; ".join(str(reason) for reason in planned.reasons),
            planned.key,
            planned.seconds,
        )
        for planned in plan
    ]
