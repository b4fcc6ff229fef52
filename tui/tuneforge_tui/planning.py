"""The plan as the step tree shows it."""

from pathlib import Path

from tuneforge_specs.loader import load
from tuneforge_specs.write import to_toml

from tuneforge.plan.builder import make_plan
from tuneforge.plan.definition import Plan
from tuneforge.workspace import Workspace
from tuneforge_tui.state import StepView


def plan_of(spec: Path, workspace: Workspace) -> Plan:
    """Load the spec and plan it; raise TuneforgeError where that cannot be done."""
    return make_plan(load(spec), workspace)


def in_full(spec: Path, workspace: Workspace) -> tuple[str, str]:
    """Write the plan with its forecast, and the spec with every default filled in."""
    from tuneforge.device import detect
    from tuneforge.plan.explain import plan_lines
    from tuneforge.plan.forecast import forecast
    from tuneforge.plan.foretell import forecast_lines

    loaded = load(spec)
    plan = make_plan(loaded, workspace)
    takes = forecast(plan, loaded.spec, detect(), budget=0, price=0.0)
    lines = [*plan_lines(plan), *forecast_lines(takes, nothing_to_do=plan.done)]
    return "\n".join(lines), to_toml(loaded.resolved)


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
