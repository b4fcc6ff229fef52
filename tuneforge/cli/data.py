"""``tuneforge data``: look at what goes into a model, and why."""

import json as json_module
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneforge.cli.options import AsJson
from tuneforge.cli.sql import WORKSPACE, StorePath

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Look at data: ingest, preview, lint, funnel, duplicates, diff, export, explain.",
)


class SnapshotForm(StrEnum):
    """How a dataset's records are written."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset of the last build.")]


def _json(value: Any) -> None:
    text = json_module.dumps(value, ensure_ascii=False, indent=1, default=str)
    sys.stdout.write(text + "\n")


@app.command()
def ingest(
    path: Annotated[list[str], typer.Argument(help="Files, globs, folders; - is standard input.")],
    form: Annotated[str, typer.Option("--format", help="The rows' format.")] = "auto",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="Name a column; may be repeated."),
    ] = None,
    on_error: Annotated[str, typer.Option("--on-error", help="error or skip.")] = "error",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to read; 0: all.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the records here.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Read data as a build would, and say what was understood."""
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from pydantic import ValidationError
    from tuneforge_datastore.ingest.source import ingest as read
    from tuneforge_specs.errors import UsageError
    from tuneforge_specs.printing import printable
    from tuneforge_specs.sources import PathSource

    try:
        source = PathSource.model_validate(
            {
                "path": path if len(path) > 1 else path[0],
                "format": form,
                "columns": dict(one.partition("=")[::2] for one in column or ()),
                "on_error": on_error,
                "limit": limit,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {first['msg']}", "tuneforge data ingest --help") from None
    with TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        result = read("data", source, Path.cwd(), folder)
        if json:
            _json(asdict(result))
            return
        for file in result.files:
            sys.stdout.write(
                f"{printable(file['file'])}: {file['records']:,} records as {file['format']} "
                f"({printable(file['why'])})"
                + (f", {file['rejected']:,} refused" if file["rejected"] else "")
                + "\n"
            )
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(result.kinds.items()))
        sys.stdout.write(f"{result.records:,} records: {kinds}\n")
        _show_first(folder)


def _show_first(folder: Path) -> None:
    import pyarrow.parquet as pq
    from tuneforge_datastore.answers import write_table
    from tuneforge_datastore.sql import Answer

    columns = ["id", "kind", "prompt", "completion"]
    batch = next(pq.ParquetFile(folder / "records.parquet").iter_batches(3, columns=columns))
    rows = [tuple(row.values()) for row in batch.to_pylist()]
    write_table(Answer(columns, [], rows), sys.stdout)


@app.command()
def funnel(dataset: DatasetName, workspace: StorePath = WORKSPACE, json: AsJson = False) -> None:
    """Show how many records each stage of a curation took out."""
    from tuneforge.cli.artifacts import current

    steps = json_module.loads((current(workspace, "dataset", dataset) / "funnel.json").read_text())
    if json:
        _json(steps)
        return
    most = max(step["in"] for step in steps)
    width = max(len(f"{step['stage']} {step['rule']}") for step in steps)
    for step in steps:
        bar = "█" * max(1, round(30 * step["out"] / max(1, most)))
        label = f"{step['stage']} {step['rule']}"
        lost = f"-{step['dropped']:,}" if step["dropped"] else ""
        lost = f"~{step['changed']:,}" if step.get("changed") else lost
        sys.stdout.write(f"{label:<{width}}  {lost:>9}  {step['out']:>9,}  {bar}\n")


@app.command()
def duplicates(
    dataset: DatasetName,
    record: Annotated[
        str, typer.Option("--of", metavar="RECORD", help="Only the cluster this record is in.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Clusters shown, the largest first; 0: all.")
    ] = 10,
    workspace: StorePath = WORKSPACE,
    json: AsJson = False,
) -> None:
    """Show the clusters of duplicates: the record that is kept, and what repeats it."""
    from tuneforge_datastore.answers import write_json, write_table
    from tuneforge_datastore.compare import clusters
    from tuneforge_datastore.sql import open_store

    from tuneforge.cli.artifacts import current

    current(workspace, "dataset", dataset)
    with open_store(workspace) as connection:
        found = clusters(connection, dataset, record=record, limit=limit)
    if json:
        write_json(found, sys.stdout)
    elif found.rows:
        write_table(found, sys.stdout)
    else:
        sys.stdout.write(
            f"{record} is in no cluster of {dataset}\n" if record else "no duplicates\n"
        )


@app.command()
def preview(
    dataset: DatasetName,
    row: Annotated[str, typer.Option("--row", metavar="ID", help="A record's id.")] = "",
    workspace: StorePath = WORKSPACE,
    json: AsJson = False,
) -> None:
    """Show a record as the model sees it: trained, masked and cut tokens."""
    from dataclasses import asdict

    from tuneforge_specs.printing import printable

    from tuneforge.cli.artifacts import rendered

    shown = rendered(workspace, dataset).preview(row)
    if json:
        _json(asdict(shown))
        return
    from rich.console import Console
    from rich.text import Text

    styles = {"trained": "bold green", "masked": "dim", "cut": "red strike"}
    marks = {"trained": ("⟦", "⟧"), "masked": ("", ""), "cut": ("✂", "✂")}
    console = Console(highlight=False)
    why = f": {shown.reason}" if shown.reason else ""
    console.print(Text(f"{shown.record_id}  ({shown.split}, {shown.verdict}{why})", style="bold"))
    for name, runs in shown.sequences.items():
        count = {state: sum(r.tokens for r in runs if r.state == state) for state in styles}
        told = ", ".join(f"{tokens} {state}" for state, tokens in count.items() if tokens)
        console.print(Text(f"--- {name}: {told}"))
        text = Text()
        for run in runs:
            # Without colour, brackets carry the meaning.
            left, right = ("", "") if console.is_terminal else marks[run.state]
            text.append(left + printable(run.text) + right, styles[run.state])
        console.print(text, soft_wrap=True)


@app.command()
def lint(dataset: DatasetName, workspace: StorePath = WORKSPACE, json: AsJson = False) -> None:
    """Prove a rendering row by row: trained tokens, terminators, BOS, ids, the template."""
    from dataclasses import asdict

    from tuneforge_datastore.render.lint import lint as check
    from tuneforge_specs.errors import DataError
    from tuneforge_specs.printing import printable

    from tuneforge.cli.artifacts import rendered

    found = rendered(workspace, dataset)
    checks = check(found.rendering, found.model, found.template)
    if json:
        _json([asdict(one) for one in checks])
    else:
        for one in checks:
            state = "ok" if not one.failures else one.level
            where = f"  first: {printable(one.example)}" if one.failures else ""
            count = f"{one.rows - one.failures:,}/{one.rows:,}"
            sys.stdout.write(f"{state:<8} {one.name:<23} {count:>15}  {one.meaning}{where}\n")
    wrong = [one.name for one in checks if one.failures and one.level == "error"]
    if wrong:
        raise DataError(
            f"the rendering of {dataset} fails: {', '.join(wrong)}",
            "build again; if it stays, correct the template or the tokenizer named above",
        )


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="DATASET, DATASET@KEY or a folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    limit: Annotated[int, typer.Option("--limit", min=0, help="Records shown of each side.")] = 10,
    workspace: StorePath = WORKSPACE,
    json: AsJson = False,
) -> None:
    """Compare two datasets, or two builds of one: what came, what went, and by which rule."""
    from dataclasses import asdict

    from tuneforge_datastore.answers import write_table
    from tuneforge_datastore.compare import diff as compare

    from tuneforge.cli.artifacts import dataset_folder

    found = compare(dataset_folder(workspace, a), dataset_folder(workspace, b), limit)
    if json:
        _json(asdict(found))
        return
    sys.stdout.write(
        f"in both {found.both:,} ({found.moved:,} on the other side of the split), "
        f"only in {a} {found.only_a:,}, only in {b} {found.only_b:,}\n"
    )
    for title, answer in (
        ("dropped, by rule", found.rules),
        (f"only in {a}", found.lost),
        (f"only in {b}", found.gained),
    ):
        if answer.rows:
            sys.stdout.write(f"\n{title}\n")
            write_table(answer, sys.stdout)


@app.command()
def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="DATASET, or DATASET@KEY.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    form: Annotated[SnapshotForm, typer.Option("--format", help="How rows are written.")] = (
        SnapshotForm.PARQUET
    ),
    spec: Annotated[
        Path | None,
        typer.Option("--spec", help="Where the licences are; default: spec.toml of the workspace."),
    ] = None,
    workspace: StorePath = WORKSPACE,
    json: AsJson = False,
) -> None:
    """Write a dataset's train and eval records to files, with a card that tells their history."""
    from dataclasses import asdict

    from tuneforge_datastore.snapshot import write_snapshot

    from tuneforge.card.dataset import CARD, DatasetFacts, dataset_card
    from tuneforge.cli.artifacts import dataset_folder, licenses, new_folder

    folder = dataset_folder(workspace, dataset)
    known = licenses(workspace, spec)
    facts = DatasetFacts(dataset.partition("@")[0], folder, workspace, known)
    with new_folder(out) as draft:
        made = write_snapshot(folder, draft, form.value)
        (draft / CARD).write_text(dataset_card(facts, made), encoding="utf-8")
    if json:
        _json({"out": str(out), **asdict(made)})
        return
    for side, count in made.records.items():
        sys.stdout.write(f"{out / made.file(side)}: {count:,} records\n")
    sys.stdout.write(f"{out / CARD}: the card\n")


@app.command()
def explain(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A record's id: SOURCE:NUMBER.")],
    workspace: StorePath = WORKSPACE,
    json: AsJson = False,
) -> None:
    """Tell everything that happened to one record."""
    from tuneforge_datastore.compare import explain as gather
    from tuneforge_datastore.sql import open_store
    from tuneforge_specs.errors import UsageError

    with open_store(workspace) as connection:
        found = gather(connection, record)
    if not found["record"] and not found["verdicts"]:
        raise UsageError(
            f"no record {record} in this workspace",
            'ids are SOURCE:NUMBER; tuneforge sql "SELECT id FROM records" lists them',
        )
    if json:
        _json(found)
        return
    from tuneforge_specs.printing import printable

    for title, rows in found.items():
        for row in rows:
            sys.stdout.write(f"{title}\n")
            for name, value in row.items():
                if value not in (None, "", "{}"):
                    shown = printable(str(value)).replace("\n", "\n" + " " * 14)
                    sys.stdout.write(f"  {name:<11} {shown}\n")
