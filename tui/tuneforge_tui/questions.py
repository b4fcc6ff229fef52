"""What the Data screen asks the store, as SQL; each answer is a list of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuneforge_datastore import quoting
from tuneforge_datastore.sql import Answer, query
from tuneforge_datastore.store import view_titles

Side = Literal["kept", "dropped"]
PAGE = 500


@dataclass(frozen=True)
class Dataset:
    """A dataset and the name of its views; ``kept`` and ``dropped`` count its records."""

    name: str
    view: str
    kept: int
    dropped: int


def datasets(workspace: Path) -> list[Dataset]:
    """List the datasets of the store."""
    rows = query(workspace, "SELECT name, kept, dropped FROM datasets ORDER BY created, name").rows
    # the titles depend on the order of the catalog, which is that of the table
    in_order = [str(row[0]) for row in query(workspace, "SELECT name FROM datasets").rows]
    titles = view_titles(tuple(in_order))
    return [Dataset(str(n), titles[str(n)], int(kept), int(lost)) for n, kept, lost in rows]


def funnel(workspace: Path, dataset: Dataset) -> Answer:
    """Return the rows of the funnel, in order."""
    title = quoting.name(f"{dataset.view}_funnel")
    return query(
        workspace, f'SELECT stage, rule, "in", dropped, "out" FROM {title} ORDER BY "position"'
    )


def rules(workspace: Path, dataset: Dataset) -> list[tuple[str, int]]:
    """List the rules that dropped records, with their counts."""
    title = quoting.name(f"{dataset.view}_dropped")
    text = f"SELECT rule, count(*) FROM {title} GROUP BY rule ORDER BY count(*) DESC, rule"
    return [(str(rule), int(count)) for rule, count in query(workspace, text).rows]


def records(workspace: Path, dataset: Dataset, side: Side, rule: str = "") -> Answer:
    """Return the first records of one side, of one rule if it is given."""
    if side == "kept":
        text = f"SELECT id, split AS why, prompt, completion FROM {quoting.name(dataset.view)}"
        return query(workspace, f"{text} LIMIT {PAGE}")
    title = quoting.name(f"{dataset.view}_dropped")
    text = f"SELECT id, rule AS why, prompt, completion FROM {title}"
    if rule:
        return query(workspace, f"{text} WHERE rule = ? LIMIT {PAGE}", [rule])
    return query(workspace, f"{text} LIMIT {PAGE}")


def record(workspace: Path, dataset: Dataset, identifier: str) -> dict[str, Any]:
    """Return all that is known of one record: its columns, and its verdict in the ledger."""
    found = query(workspace, "SELECT * FROM records WHERE id = ?", [identifier])
    ledger = query(
        workspace,
        "SELECT verdict, stage, rule, reason, score, witness, evidence FROM ledger "
        "WHERE dataset = ? AND id = ?",
        [dataset.name, identifier],
    )
    known: dict[str, Any] = {}
    for answer in (ledger, found):
        if answer.rows:
            known |= dict(zip(answer.columns, answer.rows[0], strict=True))
    return {name: value for name, value in known.items() if value not in (None, "", [])}
