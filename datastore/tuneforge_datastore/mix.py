"""The share of each source that a dataset takes."""

import hashlib
from collections.abc import Sequence

import numpy as np
from tuneforge_specs.datasets import Mix

from tuneforge_datastore.ledger import Ledger, drops


def sample(ledger: Ledger, mixes: Sequence[Mix], seed: int) -> None:
    """Keep ``fraction`` of each source's rows, rounded, drawn by the seed and the record's id.

    A draw depends on the record's id alone: rows added to a source change no other row's draw.
    """
    lost = []
    taken = {mix.source: mix.fraction for mix in mixes}
    if all(fraction == 1.0 for fraction in taken.values()):
        return
    for source in ledger.rows.sources:
        fraction = taken[source.name]
        if fraction == 1.0:
            continue
        draws = [
            draw(seed, identifier)
            for _, batch in source.pieces(["id"])
            for identifier in batch.column(0).to_pylist()
        ]
        order = np.argsort(np.array(draws, dtype=np.uint64), kind="stable")
        lost.append(source.first + order[max(1, round(fraction * source.count)) :])
    rows = np.sort(np.concatenate(lost)) if lost else np.empty(0, np.int64)
    ledger.record("mix", "sampled-out", drops(rows, "not in the share that is taken"))


def draw(seed: int, identifier: str) -> int:
    """Draw a number below 2 ** 64 that depends on the seed and the record's id alone."""
    digest = hashlib.blake2b(f"{seed}\n{identifier}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
