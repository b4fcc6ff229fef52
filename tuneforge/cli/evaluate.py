"""``tuneforge evaluate``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneforge.cli.options import SPEC, AsJson, Sets, WorkspacePath, open_spec, write_json

if TYPE_CHECKING:
    from tuneforge_specs.loader import LoadedSpec

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME...", help="Evaluations of the spec; none: all.")
]
Spec = Annotated[Path, typer.Option("--spec", metavar="SPEC", help="The spec file.")]


def evaluate(
    names: Names = None,
    *,
    spec: Spec = SPEC,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    json: AsJson = False,
) -> None:
    """Measure models on held-out rows, beside their base, and check the gates.

    Builds what the evaluations need first; exits with 4 where a gate fails.
    """
    from tuneforge.build.result import BuildOptions
    from tuneforge.build.session import build as run_build
    from tuneforge.console.base import Silent
    from tuneforge.console.choose import choose
    from tuneforge.evaluate.report import read_report

    loaded, place = open_spec(spec, sets, workspace)
    chosen = evaluations(loaded, names or [])
    options = BuildOptions(targets=tuple(f"evaluate.{name}" for name in chosen), write_lock=False)
    console = Silent() if json else choose(json=False)  # stdout is the report's
    try:
        result = run_build(loaded, place, console, options)
    finally:
        console.close()
    reports = {
        name: read_report(result.artifacts[f"evaluate.{name}"].path)
        for name in chosen
        if f"evaluate.{name}" in result.artifacts
    }
    if json:
        gates = [
            {"evaluation": g.evaluation, "gate": g.expression, "value": g.value, "passed": g.passed}
            for g in result.gates
        ]
        write_json({"evaluations": reports, "gates": gates})
    else:
        sys.stdout.write("".join(told(name, report) for name, report in reports.items()))
        sys.stdout.writelines(f"{gate}\n" for gate in result.gates)
    if result.error is not None:
        raise result.error


def evaluations(loaded: "LoadedSpec", names: list[str]) -> list[str]:
    """Return the evaluations that are meant; raise UsageError for one the spec has not."""
    from difflib import get_close_matches

    from tuneforge_specs.errors import UsageError

    known = list(loaded.spec.evaluate)
    if not known:
        raise UsageError(f"{loaded.path} declares no evaluation", "add a table [evaluate.NAME]")
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            fix = f"did you mean {close[0]}?" if close else f"it has: {', '.join(known)}"
            raise UsageError(f"{loaded.path} has no evaluation {name}", fix)
    return names or known


def told(name: str, report: dict[str, Any]) -> str:
    """Write one evaluation as a small table."""
    rows = [f"{name}: {report['rows']:,} rows", f"  {'':<14}{'base':>10}{'model':>10}"]
    rows += [
        f"  {metric:<14}{report['base'][metric]:>10.4f}{value:>10.4f}"
        for metric, value in report["metrics"].items()
    ]
    if "trained" in report:
        from tuneforge.evaluate.trained import deviation_text

        rows.append(f"  {deviation_text(report['trained'])}")
    return "\n".join(rows) + "\n"
