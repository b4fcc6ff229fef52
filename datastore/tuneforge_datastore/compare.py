"""What changed between two curations of a dataset, and what became of one record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tuneforge_datastore import quoting
from tuneforge_datastore.sql import Answer, ask


@dataclass(frozen=True)
class Difference:
    """Records by content: how many are in both, and samples of those in one alone."""

    both: int
    only_a: int
    only_b: int
    moved: int
    lost: Answer
    gained: Answer
    rules: Answer


def diff(a: Path, b: Path, limit: int = 10) -> Difference:
    """Compare the kept records of two dataset folders; equal content counts as the same record."""
    with duckdb.connect(":memory:") as connection:
        for name, folder in (("a", a), ("b", b)):
            for what in ("kept", "ledger"):
                file = quoting.path(folder / f"{what}.parquet")
                connection.execute(
                    f"CREATE VIEW {name}_{what} AS SELECT * FROM read_parquet({file})"
                )
        counts = ask(
            connection,
            "SELECT count(*) FILTER (x.id IS NOT NULL AND y.id IS NOT NULL), "
            "count(*) FILTER (y.id IS NULL), count(*) FILTER (x.id IS NULL), "
            "count(*) FILTER (x.split <> y.split) "
            "FROM a_kept x FULL JOIN b_kept y USING (content_hash)",
        ).rows[0]
        both, only_a, only_b, moved = counts
        return Difference(
            both,
            only_a,
            only_b,
            moved,
            lost=_alone(connection, "a", "b", limit),
            gained=_alone(connection, "b", "a", limit),
            rules=ask(connection, _RULES),
        )


def _alone(connection: duckdb.DuckDBPyConnection, here: str, there: str, limit: int) -> Answer:
    return ask(
        connection,
        f"SELECT k.id, k.prompt, k.completion, l.rule, l.reason FROM {here}_kept k "
        f"LEFT JOIN {there}_ledger l USING (id) "
        f"WHERE k.content_hash NOT IN (SELECT content_hash FROM {there}_kept) "
        f"ORDER BY k.source, k.file, k.line LIMIT {limit}",
    )


_RULES = """
SELECT coalesce(x.stage, y.stage) AS stage, coalesce(x.rule, y.rule) AS rule,
  coalesce(x.n, 0) AS a, coalesce(y.n, 0) AS b, coalesce(y.n, 0) - coalesce(x.n, 0) AS change
FROM (SELECT stage, rule, count(*) AS n FROM a_ledger WHERE verdict = 'dropped' GROUP BY ALL) x
FULL JOIN (SELECT stage, rule, count(*) AS n FROM b_ledger WHERE verdict = 'dropped' GROUP BY ALL) y
ON x.stage = y.stage AND x.rule = y.rule ORDER BY abs(change) DESC, stage"""


def explain(connection: duckdb.DuckDBPyConnection, record: str) -> dict[str, list[dict[str, Any]]]:
    """Gather what a store knows of one record: its row, its verdicts, its witnesses, its tokens."""
    questions = {
        "record": "SELECT id, source, file, line, kind, prompt, completion, meta "
        "FROM records WHERE id = ?",
        "verdicts": "SELECT dataset, verdict, stage, rule, reason, score, witness, evidence "
        "FROM ledger WHERE id = ?",
        "changes": "SELECT dataset, field, rule, before, after FROM changes WHERE id = ?",
        "witnesses": "SELECT id, file, line, prompt, completion FROM records WHERE id IN "
        "(SELECT witness FROM ledger WHERE id = ? AND witness <> '')",
        "renderings": "SELECT dataset, split, verdict, reason, n_tokens, n_supervised "
        "FROM renderings WHERE record_id = ?",
    }
    found = {}
    for name, question in questions.items():
        answer = ask(connection, question, [record])
        found[name] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return found
