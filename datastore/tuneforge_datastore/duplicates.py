"""Exact and near duplicates, and overlap with evaluation sources: drops that name a witness."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from tuneforge_specs.datasets import Decontaminate, NearDedup

from tuneforge_datastore.ledger import EVIDENCE_SHOWN, Ledger, drops
from tuneforge_datastore.rows import Rows, all_texts


def drop_exact(connection: duckdb.DuckDBPyConnection, ledger: Ledger, ids: pa.ChunkedArray) -> None:
    """Drop records that say what an earlier one says, white space and Unicode form aside."""
    rows = ledger.rows
    hashes = pa.table({"row": rows.numbers(), "content_hash": rows.column("content_hash")})
    connection.register("hashes", hashes)
    found = connection.sql(
        'SELECT h."row", f.first FROM hashes h JOIN '
        '(SELECT content_hash, min("row") AS first FROM hashes GROUP BY ALL HAVING count(*) > 1) f '
        'USING (content_hash) WHERE h."row" <> f.first ORDER BY 1'
    ).to_arrow_table()
    connection.unregister("hashes")
    witness = ids.take(found.column("first")).combine_chunks()
    row = found.column("row").to_numpy()
    ledger.record(
        "dedup.exact",
        "exact-duplicate",
        drops(row, "says exactly what an earlier record says", np.ones(len(row)), witness),
    )


def drop_near(
    ledger: Ledger, spec: NearDedup, ids: pa.ChunkedArray, seed: int, threads: int
) -> int:
    """Drop records at least ``threshold`` similar to an earlier kept one.

    Returns the number of records that were compared with a part of their bucket only.
    """
    from tuneforge_datastore.dedup.near import near_duplicates

    numbers = ledger.rows.numbers()
    found = near_duplicates(
        ledger.rows.texts(spec.of),
        threshold=spec.threshold,
        ngram=spec.ngram,
        permutations=spec.permutations,
        seed=seed,
        threads=threads,
        folder=ledger.rows.scratch,
    )
    witness = ids.take(pa.array(numbers[found.kept])).combine_chunks()
    reasons = pa.array(
        [f"{score:.3f} similar to an earlier record" for score in found.jaccard.tolist()],
        pa.string(),
    )
    ledger.record(
        "dedup.near",
        "near-duplicate",
        drops(numbers[found.dropped], reasons, found.jaccard, witness),
    )
    return int(found.bounded)


def drop_contaminated(ledger: Ledger, spec: Decontaminate, against: Mapping[str, Path]) -> None:
    """Drop records that share ``ngram`` words in a row with a record of an evaluation source."""
    from tuneforge_datastore.decontaminate import overlaps

    for name in spec.against:
        numbers = ledger.rows.numbers()
        found = overlaps(ledger.rows.texts("whole"), all_texts(against[name]), ngram=spec.ngram)
        theirs = Rows({name: against[name]}).column("id").combine_chunks()
        ledger.record(
            "decontaminate",
            "contaminated",
            drops(
                numbers[[one.index for one in found]] if found else np.empty(0, np.int64),
                f"shares {spec.ngram} words in a row, or its whole short text, with {name}",
                None,
                theirs.take(pa.array([one.against_index for one in found], pa.int64())),
                [one.matched_text[:EVIDENCE_SHOWN] for one in found],
            ),
        )
