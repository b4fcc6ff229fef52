"""``tuneforge merge``: models and adapters into one, without data, training or torch."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneforge.cli.options import AsJson, Sets, write_json

if TYPE_CHECKING:
    from tuneforge_specs.loader import LoadedSpec

    from tuneforge.cli.summary_file import MergeSummaryFile
    from tuneforge.merge.analyse import Analysis
    from tuneforge.merge.lowrank.plan import AdapterPlan
    from tuneforge.merge.standalone import Standalone

PlanFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A spec with base and merge, or a mergekit .yml.")
]


def merge(
    plan: PlanFile,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the result.")
    ] = None,
    sets: Sets = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the tensor plan and its cost; write nothing.")
    ] = False,
    analyse: Annotated[
        bool, typer.Option("--analyse", help="Show how the inputs' deltas relate, by layer.")
    ] = False,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Threads; 0: one for each core.")
    ] = 0,
    json: AsJson = False,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary", metavar="FILE", help="Write a summary as Markdown, however it ends."
        ),
    ] = None,
) -> None:
    """Merge models and adapters by the plan in a spec.

    With several [merge.NAME] tables each result goes to DIR/NAME.
    """
    from tuneforge_specs.errors import UsageError

    from tuneforge.cli.summary_file import MergeSummaryFile

    workers = threads or len(os.sched_getaffinity(0))
    if dry_run or analyse:
        if summary is not None:
            raise UsageError("--summary tells of a merge that was written", "leave it out here")
        _tell(plan, sets or (), workers, analyse=analyse, json=json)
        return
    with MergeSummaryFile(summary, plan) as file:
        _write(plan, sets or (), output, workers, file, json=json)


def _tell(plan: Path, sets: Sequence[str], threads: int, *, analyse: bool, json: bool) -> None:
    from tuneforge.merge.standalone import merges_of

    loaded, converted = _load(plan, sets)
    found = merges_of(loaded)
    if converted and not json:
        sys.stdout.write(f"{converted}\n")
    described = [_describe(one, threads, analyse=analyse, text=not json) for one in found]
    if json:
        write_json(described)


def _write(
    plan: Path,
    sets: Sequence[str],
    output: Path | None,
    threads: int,
    summary: "MergeSummaryFile",
    *,
    json: bool,
) -> None:
    from tuneforge_specs.errors import UsageError

    from tuneforge.cli.lines import Lines
    from tuneforge.merge.standalone import merges_of

    loaded, _ = _load(plan, sets)
    found = merges_of(loaded)
    if output is None:
        raise UsageError("where to write the result?", "add -o DIR")
    for one in found:
        one.check_writable()
    reports, lines = [], Lines(quiet=json)
    for one in found:
        target = output if len(found) == 1 else output / one.name
        started = time.monotonic()
        report = one.write(target, threads, _progress(one.name, quiet=json), lines)
        seconds = time.monotonic() - started
        reports.append({"merge": one.name, "folder": str(target), "seconds": seconds, **report})
        warnings = report.get("warnings", ())
        summary.done(f"merge.{one.name}", seconds, target, warnings)
        for text in warnings:
            lines.warn(text)
        if not json:
            sys.stdout.write(_done(target, report, seconds))
    if json:
        write_json(reports)


def _load(path: Path, sets: Sequence[str]) -> "tuple[LoadedSpec, str]":
    """Return the spec, and its TOML where it was written for mergekit."""
    from tuneforge_specs.loader import load

    if path.suffix in {".yml", ".yaml"}:
        from tuneforge.merge.mergekit.load import load_mergekit

        return load_mergekit(path, sets)
    return load(path, sets), ""


def _progress(name: str, *, quiet: bool) -> Any:
    silent = quiet or not sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if silent:
            return
        sys.stderr.write(f"\r{name}: {done / 1e9:.2f} of {total / 1e9:.2f} GB")
        sys.stderr.write("\n" if done >= total else "")
        sys.stderr.flush()

    return show


def _done(target: Path, report: dict[str, Any], seconds: float) -> str:
    if report.get("result") == "adapter":
        from tuneforge.merge.lowrank.run import result_lines

        return "\n".join([f"{target}: in {seconds:.1f} s", *result_lines(report)]) + "\n"
    line = f"{target}: {report['bytes'] / 1e9:.2f} GB in {seconds:.1f} s"
    if report["changed"] is not None and report["elements"]:
        share = report["changed"] / report["elements"]
        line += f"; {share:.1%} of the weights differ from the {report['onto']} base"
    return f"{line}\n"


def _describe(one: "Standalone", threads: int, *, analyse: bool, text: bool) -> dict[str, Any]:
    from tuneforge.merge.describe import analysis_lines, plan_lines, plan_values
    from tuneforge.merge.lowrank.plan import AdapterPlan

    made = one.plan()
    if isinstance(made, AdapterPlan):
        return _describe_adapter(one.name, made, threads, analyse=analyse, text=text)
    values: dict[str, Any] = {"merge": one.name, **plan_values(made, threads)}
    lines = plan_lines(made, threads)
    if analyse:
        from tuneforge.merge.analyse import analyse as relate

        found: Analysis = relate(made)
        values["analysis"] = {
            "inputs": list(found.labels),
            "trimmed": list(found.trimmed),
            "layers": list(found.rows()),
        }
        lines = analysis_lines(found)
    if text:
        sys.stdout.write("\n".join([f"merge {one.name}", *lines]) + "\n")
    return values


def _describe_adapter(
    name: str, plan: "AdapterPlan", threads: int, *, analyse: bool, text: bool
) -> dict[str, Any]:
    from tuneforge_specs.errors import UsageError

    from tuneforge.merge.lowrank.describe import plan_lines, plan_values

    if analyse:
        raise UsageError(
            f"merge.{name}: --analyse compares the inputs of a merge into a model",
            'analyse the same inputs with method = "task_arithmetic"',
        )
    if text:
        sys.stdout.write("\n".join([f"merge {name}", *plan_lines(plan, threads)]) + "\n")
    return {"merge": name, **plan_values(plan, threads)}
