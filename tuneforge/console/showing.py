"""The summary on a terminal: the funnel, before and after, times, where things are."""

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tuneforge.console.summary import Evaluation, Measured, Sample, Stage, Summary
from tuneforge.console.text import number, seconds, size

BAR = 24
SHARES = frozenset({"exact-match", "json-valid"})


def show(summary: Summary, stream: TextIO) -> None:
    """Print the summary; without a terminal it has no colour and no cut lines."""
    console = RichConsole(file=stream, highlight=False)
    if not stream.isatty():
        console = RichConsole(file=stream, highlight=False, width=100, color_system=None)
    for name, stages in summary.funnels.items():
        _section(console, f"Data: {name}", _funnel(stages))
    for evaluation in summary.evaluations:
        title = f"{evaluation.name}: {evaluation.model} against the base"
        _section(console, title, _evaluation(evaluation))
    if summary.steps:
        _section(console, "Time", _times(summary))
    console.print("\n[bold]Where[/]")
    for line in _places(summary):
        console.print(line, soft_wrap=True)
    if summary.warnings:
        lines = [Text(f"{step}: {text}", "yellow") for step, text in summary.warnings]
        _section(console, "Warnings", Group(*lines))
    ran = len(summary.steps)
    for step, why in summary.skipped:
        console.print(f"\n[bold red]{escape(step)} is not built[/]: {escape(why)}")
    console.print(
        f"\n{_headline(summary)}: {ran} "
        f"{'step' if ran == 1 else 'steps'} ran in {seconds(summary.seconds)}, "
        f"{summary.cached} cached"
    )


def _headline(summary: Summary) -> str:
    name = escape(summary.name)
    if summary.smoke:
        return f"[bold green]the smoke test of {name} passed[/]"
    if summary.skipped:
        return f"[bold red]not everything of {name} is built[/]"
    return f"[bold green]everything of {name} is built[/]"


def _section(console: RichConsole, title: str, body: Table | Group) -> None:
    console.print(f"\n[bold]{escape(title)}[/]")
    console.print(Padding(body, (0, 0, 0, 2), expand=False))


def _funnel(stages: tuple[Stage, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    most = max((stage.taken for stage in stages), default=1) or 1
    table.add_row("records read", "", f"{most:,}", Text("█" * BAR, "cyan"))
    for stage in stages:
        bar = "█" * max(round(BAR * stage.left / most), 1 if stage.left else 0)
        dropped = Text(f"-{stage.dropped:,}", "red") if stage.dropped else Text("0", "dim")
        style = "" if stage.dropped else "dim"
        table.add_row(Text(stage.name, style), dropped, f"{stage.left:,}", Text(bar, "cyan"))
    return table


def _evaluation(evaluation: Evaluation) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in range(2):
        table.add_column(justify="right")
    table.add_column()
    table.add_row("", Text("base", "dim"), Text("tuned", "dim"), "")
    for measured in evaluation.measured:
        style = "bold green" if measured.better else "bold"
        base = "" if measured.base is None else _value(measured, measured.base)
        bar = Text("█" * round(BAR * measured.tuned), "green") if _share(measured) else Text("")
        table.add_row(measured.metric, base, Text(_value(measured, measured.tuned), style), bar)
    gates = [
        Text.assemble(
            ("✓ " if gate.passed else "✗ ", "green" if gate.passed else "red"),
            f"gate {gate.expression}",
        )
        for gate in evaluation.gates
    ]
    trained = [Text(evaluation.trained, "dim")] if evaluation.trained else []
    return Group(table, *trained, *gates, *(_sample(sample) for sample in evaluation.samples))


def _share(measured: Measured) -> bool:
    return measured.metric.split("@")[0] in SHARES


def _value(measured: Measured, value: float) -> str:
    return f"{100 * value:.1f} %" if _share(measured) else number(value)


def _sample(sample: Sample) -> Padding:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("prompt", _short(sample.prompt))
    if sample.reference:
        table.add_row("reference", _short(sample.reference))
    table.add_row("base", Text.assemble((str(_short(sample.base)), "red")))
    table.add_row("tuned", Text.assemble((str(_short(sample.tuned)), "green")))
    return Padding(table, (1, 0, 0, 0))


def _short(text: str, longest: int = 240) -> Text:
    line = " ".join(text.split()) or "(nothing)"
    return Text(line if len(line) <= longest else f"{line[: longest - 1]}…")


def _times(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    longest = max((took for _, took in summary.steps), default=1.0) or 1.0
    for step, took in summary.steps:
        bar = "▪" * round(BAR * took / longest)
        table.add_row(Text(step), seconds(took), Text(bar, "blue"))
    return table


def _places(summary: Summary) -> Iterator[Text]:
    """Give a line for each place, never broken: a path in two pieces cannot be copied."""
    widest = max(len(place.what) for place in summary.places)
    for place in summary.places:
        shown = size(place.bytes) if place.bytes else ""
        yield Text.assemble(f"  {place.what:<{widest}}  {shown:>7}  ", (str(place.path), "cyan"))
