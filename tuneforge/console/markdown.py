"""The summary as Markdown, for the page of a CI job."""

from collections.abc import Iterator

from tuneforge.console.summary import Evaluation, Failure, Stage, Summary
from tuneforge.console.text import number, seconds, size


def as_markdown(summary: Summary) -> str:
    """Write the whole summary as Markdown."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"# {summary.name}"
    yield ""
    if summary.failure is not None:
        yield from _failure(summary.failure)
    ran = "1 step" if len(summary.steps) == 1 else f"{len(summary.steps)} steps"
    yield f"{ran} ran in {seconds(summary.seconds)}, {summary.cached} cached."
    for name, stages in summary.funnels.items():
        yield from _funnel(name, stages)
    for evaluation in summary.evaluations:
        yield from _evaluation(evaluation)
    if summary.steps:
        yield from ("", "## Time", "", "| step | time |", "|---|--:|")
        yield from (f"| {step} | {seconds(took)} |" for step, took in summary.steps)
    if summary.places:
        yield from ("", "## Where", "", "| what | size | path |", "|---|--:|---|")
    for place in summary.places:
        yield f"| {place.what} | {size(place.bytes) if place.bytes else ''} | `{place.path}` |"
    if summary.failed:
        yield from ("", "## Failed", "")
        yield from (f"- {step}: {_cell(why)}" for step, why in summary.failed)
    if summary.skipped:
        yield from ("", "## Not built", "")
        yield from (f"- {step}: {_cell(why)}" for step, why in summary.skipped)
    if summary.warnings:
        yield from ("", "## Warnings", "")
        yield from (f"- {step}: {_cell(text)}" for step, text in summary.warnings)


def _failure(failure: Failure) -> Iterator[str]:
    yield f"**Failed with exit code {failure.exit_code}.**"
    fix = f"\nfix: {failure.fix}" if failure.fix else ""
    yield from ("", "```text", f"{failure.message}{fix}".replace("```", "'''"), "```", "")


def _funnel(name: str, stages: tuple[Stage, ...]) -> Iterator[str]:
    yield from ("", f"## Data: {name}", "", "| stage | in | dropped | left |", "|---|--:|--:|--:|")
    for stage in stages:
        yield f"| {_cell(stage.name)} | {stage.taken:,} | {stage.dropped:,} | {stage.left:,} |"


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    title = f"## {evaluation.name}: {evaluation.model} against the base"
    yield from ("", title, "", "| metric | base | tuned |", "|---|--:|--:|")
    for measured in evaluation.measured:
        base = "" if measured.base is None else number(measured.base)
        yield f"| {measured.metric} | {base} | {number(measured.tuned)} |"
    if evaluation.trained:
        yield from ("", evaluation.trained)
    for gate in evaluation.gates:
        mark = "passed" if gate.passed else "**failed**"
        yield f"\nGate `{gate.expression}`: {mark} ({gate.value:.4g})"
    for sample in evaluation.samples:
        yield from ("", "```text", f"prompt:    {_plain(sample.prompt)}")
        yield f"reference: {_plain(sample.reference)}"
        yield f"base:      {_plain(sample.base)}"
        yield from (f"tuned:     {_plain(sample.tuned)}", "```")


def _plain(text: str, longest: int = 400) -> str:
    line = " ".join(text.replace("```", "'''").split()) or "(nothing)"
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
