"""The SQL surface: every table and view that the store shows, as statements.

Views name the immutable Parquet of artifacts, and the event logs of runs as they are now; the store
itself holds no rows of data.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tuneforge_datastore import quoting, records

RENDERINGS = pa.schema(
    [
        ("record_id", pa.string()),
        ("split", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("n_tokens", pa.int64()),
        ("n_supervised", pa.int64()),
    ]
)
STABLE = (
    *("records", "ledger", "changes", "duplicates", "datasets", "renderings", "runs", "metrics"),
    *("artifacts", "events"),
)
ENDINGS = ("", "_dropped", "_changes", "_duplicates", "_funnel")
_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN"}
_TURNS = (
    'STRUCT("role" VARCHAR, "content" VARCHAR, "tool_calls" VARCHAR, "tool_call_id" VARCHAR, '
    '"name" VARCHAR, "weight" DOUBLE)[]'
)


def view(title: str, query: str) -> str:
    """Write the statement that makes a view."""
    return f"CREATE VIEW {quoting.name(title)} AS {query}"


def nothing(schema: pa.Schema, first: str = "") -> str:
    """Write a query of no rows with the columns of a schema, after the column ``first``."""
    columns = [f"NULL::VARCHAR AS {first}"] if first else []
    for column in schema:
        kind = _TYPES.get(str(column.type), _TURNS)
        columns.append(f"NULL::{kind} AS {quoting.name(column.name)}")
    return f"SELECT {', '.join(columns)} WHERE false"


def records_view(folders: Iterable[Path]) -> str:
    """All records of all sources, as read."""
    files = [folder / "records.parquet" for folder in folders]
    query = f"SELECT * FROM read_parquet({quoting.paths(files)})" if files else ""
    return view("records", query or nothing(records.SCHEMA))


def of_datasets(title: str, file: str, folders: dict[str, Path], schema: pa.Schema) -> str:
    """One view over a file that each dataset has, with the dataset's name first."""
    queries = [
        f"SELECT {quoting.literal(dataset)} AS dataset, * "
        f"FROM read_parquet({quoting.path(folder / file)})"
        for dataset, folder in folders.items()
    ]
    return view(title, " UNION ALL BY NAME ".join(queries) or nothing(schema, "dataset"))


def dataset_views(title: str, folder: Path, mixed: Iterable[Path]) -> Iterator[str]:
    """The views of one dataset: its records, what was dropped or changed and why, its funnel."""
    kept = quoting.path(folder / "kept.parquet")
    yield view(title, f"SELECT * FROM read_parquet({kept})")
    verdicts = quoting.path(folder / "ledger.parquet")
    files = [source / "records.parquet" for source in mixed]
    raw = f"read_parquet({quoting.paths(files)})" if files else f"({nothing(records.SCHEMA)})"
    yield view(
        f"{title}_dropped",
        "SELECT l.id, l.source, l.stage, l.rule, l.reason, l.score, l.witness, l.evidence, "
        "r.file, r.line, r.kind, r.prompt, r.completion, r.meta "
        f"FROM read_parquet({verdicts}) l LEFT JOIN {raw} r USING (id) "
        "WHERE l.verdict = 'dropped'",
    )
    changes = folder / "changes.parquet"
    yield view(f"{title}_changes", f"SELECT * FROM read_parquet({quoting.path(changes)})")
    steps = json.loads((folder / "funnel.json").read_text())
    yield view(f"{title}_funnel", funnel_query(steps))


# A near duplicate's witness was kept when it was found; an exact one's may be a near duplicate.
DUPLICATES = """CREATE VIEW duplicates AS
WITH found AS (SELECT dataset, id, rule, score, witness FROM ledger
  WHERE rule IN ('exact-duplicate', 'near-duplicate')),
rooted AS (SELECT f.*, coalesce(again.witness, f.witness) AS cluster
  FROM found f LEFT JOIN found again ON again.dataset = f.dataset AND again.id = f.witness),
members AS (SELECT dataset, cluster, id, rule, score, witness FROM rooted
  UNION ALL SELECT DISTINCT dataset, cluster, cluster, '', NULL, '' FROM rooted)
SELECT m.dataset, m.cluster, count(*) OVER (PARTITION BY m.dataset, m.cluster) AS size, m.id,
  l.verdict, m.rule, m.score, m.witness, r.source, r.file, r.line, r.prompt, r.completion
FROM members m JOIN ledger l ON l.dataset = m.dataset AND l.id = m.id
LEFT JOIN records r ON r.id = m.id"""


def duplicates_of(title: str, dataset: str) -> str:
    """One dataset's share of ``duplicates``."""
    mine = f"dataset = {quoting.literal(dataset)}"
    return view(f"{title}_duplicates", f"SELECT * EXCLUDE (dataset) FROM duplicates WHERE {mine}")


def funnel_query(steps: list[dict[str, Any]]) -> str:
    """Write the funnel's rows as a query: position, stage, rule, and counts of records."""
    rows = ", ".join(
        f"({place}, {quoting.literal(step['stage'])}, {quoting.literal(step['rule'])}, "
        f"{int(step['in'])}, {int(step['dropped'])}, {int(step['out'])}, "
        f"{int(step.get('changed', 0))})"
        for place, step in enumerate(steps)
    )
    columns = '"position", stage, rule, "in", dropped, "out", changed'
    return f"SELECT * FROM (VALUES {rows}) AS f({columns})"


def run_views(workspace: Path) -> Iterator[str]:
    """Views over the event logs of runs: they work with no run, and while runs write."""
    logs = quoting.path(workspace / "runs")[:-1] + "/*/*/events.jsonl'"
    yield view(
        "events",
        "WITH texts AS (SELECT string_split(filename, '/') AS parts, "
        f"string_split(content, chr(10)) AS lines FROM read_text({logs})), "
        "numbered AS (SELECT parts[-3] AS step, parts[-2] AS key, unnest(lines) AS line, "
        "generate_subscripts(lines, 1) AS number FROM texts) "
        "SELECT step, key, number, line->>'$.event' AS event, "
        "make_timestamp((TRY_CAST(line->>'$.t' AS DOUBLE) * 1e6)::BIGINT) AS time, "
        "line::JSON AS fields "
        "FROM numbered WHERE line <> '' AND json_valid(line)",
    )
    yield view("runs", _RUNS)
    yield view("metrics", _METRICS)


_RUNS = """
SELECT step, key,
  coalesce(arg_max(event, number) FILTER (event IN ('done', 'failed', 'stopped')), 'unfinished')
    AS state,
  any_value(fields->>'$.kind') FILTER (event = 'started') AS kind,
  any_value(fields->>'$.backend') FILTER (event = 'started') AS backend,
  any_value(fields->>'$.device') FILTER (event = 'started') AS device,
  min(time) AS started, max(time) AS last_event,
  epoch(max(time)) - epoch(min(time)) AS seconds,
  max(TRY_CAST(fields->>'$.step' AS BIGINT)) FILTER (event = 'step') AS steps_done,
  max(TRY_CAST(fields->>'$.steps' AS BIGINT)) FILTER (event = 'step') AS steps,
  arg_max(TRY_CAST(fields->>'$.loss' AS DOUBLE), number) FILTER (event = 'step') AS loss,
  arg_max(TRY_CAST(fields->>'$.loss' AS DOUBLE), number) FILTER (event = 'eval') AS eval_loss,
  max(TRY_CAST(fields->>'$.memory_bytes' AS BIGINT)) AS memory_bytes,
  arg_max(fields->>'$.message', number) FILTER (event = 'failed') AS error
FROM events GROUP BY step, key ORDER BY started"""

_METRICS = """
SELECT step AS run, key, event AS phase, time, TRY_CAST(fields->>'$.step' AS BIGINT) AS step,
  TRY_CAST(fields->>'$.loss' AS DOUBLE) AS loss,
  TRY_CAST(fields->>'$.learning_rate' AS DOUBLE) AS learning_rate,
  TRY_CAST(fields->>'$.grad_norm' AS DOUBLE) AS grad_norm,
  TRY_CAST(fields->>'$.tokens' AS BIGINT) AS tokens,
  TRY_CAST(fields->>'$.tokens_per_second' AS DOUBLE) AS tokens_per_second,
  TRY_CAST(fields->>'$.memory_bytes' AS BIGINT) AS memory_bytes,
  fields
FROM events WHERE event IN ('step', 'eval') ORDER BY run, key, number"""
