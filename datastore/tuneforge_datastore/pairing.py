"""Preference pairs that teach nothing or the opposite of one another, and their bias to length."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tuneforge_datastore import quoting
from tuneforge_datastore.ledger import Ledger, drops
from tuneforge_datastore.rows import SourceRows

STAGE = "pairs"
# Where longer answers win this often, a model learns length as soon as quality.
BIASED = 0.75
_SAID = (
    "coalesce(list_aggregate(list_transform({0}, lambda m: "
    "m.role || chr(31) || {1} || chr(31) || m.tool_calls), 'string_agg', chr(30)), '')"
)
_NORMAL = r"lower(trim(regexp_replace(nfc_normalize(m.content), '\s+', ' ', 'g')))"

_EMPTY = (
    "len(list_filter({0}, lambda m: m.tool_calls <> '' OR regexp_matches(m.content, '\\S'))) = 0"
)
_FAULTS = {
    "empty-side": "an answer is empty",
    "equal-answers": "chosen and rejected are equal",
    "alike-answers": "chosen and rejected differ in case, white space or Unicode form alone",
}


def _said(turns: str, content: str = "m.content") -> str:
    return _SAID.format(turns, content)


def check_pairs(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, ids: pa.ChunkedArray
) -> None:
    """Drop pairs with an empty side or no difference, and those that an earlier one contradicts.

    The funnel has a line for each rule where there are preference records at all.
    """
    found = pa.concat_tables(
        [_judged(connection, ledger, source) for source in ledger.rows.sources]
    ).sort_by("row")
    if not len(found):
        return
    for rule, reason in _FAULTS.items():
        rows = found.filter(pc.equal(found.column("fault"), rule)).column("row")
        ledger.record(STAGE, rule, drops(rows.combine_chunks(), reason))
    _drop_swapped(connection, ledger, found.filter(pc.equal(found.column("fault"), "")), ids)


def _judged(connection: duckdb.DuckDBPyConnection, ledger: Ledger, source: SourceRows) -> pa.Table:
    table, values = source.relation()
    connection.register("alive", pa.table({"row": ledger.rows.numbers()}))
    return connection.sql(
        f"""SELECT "row", CASE
          WHEN no_chosen OR no_rejected THEN 'empty-side'
          WHEN c = r THEN 'equal-answers'
          WHEN {_said("chosen", _NORMAL)} = {_said("rejected", _NORMAL)} THEN 'alike-answers'
          ELSE '' END AS fault,
          md5(p || chr(29) || c || chr(29) || r) AS way,
          md5(p || chr(29) || least(c, r) || chr(29) || greatest(c, r)) AS unordered
        FROM (SELECT "row", chosen, rejected, {_said("messages")} AS p, {_said("chosen")} AS c,
          {_said("rejected")} AS r, {_EMPTY.format("chosen")} AS no_chosen,
          {_EMPTY.format("rejected")} AS no_rejected
          FROM {table} SEMI JOIN alive USING ("row") WHERE kind = 'preference')""",
        params=values,
    ).to_arrow_table()


def _drop_swapped(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, pairs: pa.Table, ids: pa.ChunkedArray
) -> None:
    connection.register("pairs", pairs)
    found = connection.sql(
        'SELECT p."row", f.first FROM pairs p JOIN '
        '(SELECT unordered, min("row") AS first, arg_min(way, "row") AS way '
        "FROM pairs GROUP BY unordered HAVING count(DISTINCT way) > 1) f "
        "USING (unordered) WHERE p.way <> f.way ORDER BY 1"
    ).to_arrow_table()
    connection.unregister("pairs")
    witness = ids.take(found.column("first")).combine_chunks()
    rows = found.column("row").combine_chunks()
    reason = "prefers the answer that an earlier record rejects, over the one it prefers"
    ledger.record(STAGE, "swapped-pair", drops(rows, reason, None, witness))


@dataclass(frozen=True)
class LengthBias:
    """Mean characters of the two answers, and the share of pairs whose chosen one is longer."""

    chosen: float
    rejected: float
    longer: float

    @property
    def told(self) -> str:
        """The figures in a sentence."""
        return (
            f"chosen answers have {self.chosen:,.0f} characters on average, rejected ones "
            f"{self.rejected:,.0f}; the chosen one is longer in {self.longer:.0%} of the pairs"
        )

    @property
    def warning(self) -> str:
        """What a user should hear, empty if length says little about the choice."""
        if self.longer < BIASED:
            return ""
        return f"{self.told}: a model may learn length instead of quality"


def length_bias(kept: Path) -> LengthBias:
    """Measure the preference records of a ``kept.parquet``."""
    measure = "list_sum(list_transform({0}, lambda m: length(m.content) + length(m.tool_calls)))"
    with duckdb.connect(":memory:") as connection:
        row = connection.execute(
            "SELECT avg(c), avg(r), avg((c > r)::INT) FROM (SELECT "
            f"{measure.format('chosen')} AS c, {measure.format('rejected')} AS r "
            f"FROM read_parquet({quoting.path(kept)}))"
        ).fetchone()
    assert row is not None  # an aggregate without groups has one row
    return LengthBias(*(float(value or 0) for value in row))
