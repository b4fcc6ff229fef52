"""Diversity: at most so many records of each cluster of similar ones."""

import numpy as np
import pyarrow as pa
from tuneforge_specs.selection import ClusterCapSelection

from tuneforge_datastore.ledger import drops
from tuneforge_datastore.selection import Desk
from tuneforge_datastore.selection.values import ranks


def run(spec: ClusterCapSelection, desk: Desk) -> None:
    """Keep the first ``max`` of each cluster; the witness is its first record."""
    from tuneforge_datastore.dedup.near import clusters

    rows = desk.ledger.rows
    numbers = rows.numbers()
    cluster = clusters(
        rows.texts(spec.of),
        threshold=spec.threshold,
        ngram=spec.ngram,
        permutations=spec.permutations,
        seed=desk.seed,
        threads=desk.threads,
        folder=rows.scratch,
    )
    lost = np.flatnonzero(ranks(cluster, np.arange(len(cluster))) >= spec.max)
    sizes = np.bincount(cluster, minlength=len(cluster))
    first = cluster[lost]
    reasons = [
        f"one of {size:,} similar records; {spec.max:,} are kept" for size in sizes[first].tolist()
    ]
    witness = desk.ids.take(pa.array(numbers[first])).combine_chunks()
    desk.ledger.record(
        desk.stage,
        "cluster-capped",
        drops(numbers[lost], pa.array(reasons, pa.string()), sizes[first].astype(float), witness),
    )
