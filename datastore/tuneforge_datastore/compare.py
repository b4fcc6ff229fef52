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
    """Compare the kept records of two dataset folders; equal content counts as the same record.

    Where a folder holds a content several times, its first is the other's first, and so on.
    """
    with duckdb.connect(":memory:") as connection:
        for name, folder in (("a", a), ("b", b)):
            files = [quoting.path(folder / f"{what}.parquet") for what in ("kept", "ledger")]
            connection.execute(
                f"CREATE VIEW {name}_kept AS SELECT *, row_number() OVER "
                "(PARTITION BY content_hash ORDER BY source, file, line, id) AS nth "
                f"FROM read_parquet({files[0]})"
            )
            connection.execute(
                f"CREATE VIEW {name}_ledger AS SELECT * FROM read_parquet({files[1]})"
            )
        counts = ask(
            connection,
            "SELECT count(*) FILTER (x.id IS NOT NULL AND y.id IS NOT NULL), "
            "count(*) FILTER (y.id IS NULL), count(*) FILTER (x.id IS NULL), "
            "count(*) FILTER (x.split <> y.split) "
            "FROM a_kept x FULL JOIN b_kept y USING (content_hash, nth)",
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
        "SELECT k.id, k.prompt, k.completion, l.rule, l.reason "
        f"FROM (FROM {here}_kept ANTI JOIN {there}_kept USING (content_hash, nth)) k "
        f"LEFT JOIN {there}_ledger l USING (id) "
        f"ORDER BY k.source, k.file, k.line LIMIT {limit}",
    )


_RULES = """
SELECT coalesce(x.stage, y.stage) AS stage, coalesce(x.rule, y.rule) AS rule,
  coalesce(x.n, 0) AS a, coalesce(y.n, 0) AS b, coalesce(y.n, 0) - coalesce(x.n, 0) AS change
FROM (SELECT stage, rule, count(*) AS n FROM a_ledger WHERE verdict = 'dropped' GROUP BY ALL) x
FULL JOIN (SELECT stage, rule, count(*) AS n FROM b_ledger WHERE verdict = 'dropped' GROUP BY ALL) y
ON x.stage = y.stage AND x.rule = y.rule ORDER BY abs(change) DESC, stage"""


def explain(connection: duckdb.DuckDBPyConnection, record: str) -> dict[str, list[dict[str, Any]]]:
    """Gather what a store knows of one record: row, verdicts, duplicates, witnesses, tokens."""
    questions = {
        "record": "SELECT id, source, file, line, kind, prompt, completion, meta "
        "FROM records WHERE id = ?",
        "verdicts": "SELECT dataset, verdict, stage, rule, reason, score, witness, evidence "
        "FROM ledger WHERE id = ?",
        "changes": "SELECT dataset, field, rule, before, after FROM changes WHERE id = ?",
        "duplicates": "SELECT dataset, cluster, id, verdict, rule, score, file, line, prompt, "
        "completion FROM duplicates WHERE (dataset, cluster) IN "
        "(SELECT dataset, cluster FROM duplicates WHERE id = ?) "
        "ORDER BY dataset, cluster, rule <> '', score DESC, id",
        "witnesses": "SELECT id, file, line, prompt, completion FROM records WHERE id IN "
        "(SELECT witness FROM ledger WHERE id = ? AND witness <> '' "
        "AND rule NOT IN ('exact-duplicate', 'near-duplicate'))",
        "renderings": "SELECT dataset, split, verdict, reason, n_tokens, n_supervised "
        "FROM renderings WHERE record_id = ?",
    }
    found = {}
    for name, question in questions.items():
        answer = ask(connection, question, [record])
        found[name] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return found


def clusters(
    connection: duckdb.DuckDBPyConnection, dataset: str, *, record: str = "", limit: int = 10
) -> Answer:
    """Give the members of a dataset's clusters of duplicates, the largest ``limit`` (0: all).

    With ``record`` the one cluster that it is in. The record that is kept comes first.
    """
    return ask(
        connection,
        "SELECT cluster, size, id, verdict, rule, score, prompt, completion FROM "
        "(SELECT *, dense_rank() OVER (ORDER BY size DESC, cluster) AS place FROM duplicates "
        "WHERE dataset = $1 AND ($2 = '' OR cluster IN "
        "(SELECT cluster FROM duplicates WHERE dataset = $1 AND id = $2))) "
        "WHERE $3 = 0 OR place <= $3 ORDER BY place, rule <> '', score DESC, id",
        [dataset, record, limit],
    )
