"""The share of each source that a dataset takes."""

import hashlib
from collections.abc import Mapping

import numpy as np
from tuneforge_specs.datasets import Dataset

from tuneforge_datastore.ledger import Ledger, drops


def sample(ledger: Ledger, dataset: Dataset, seed: int) -> None:
    """Keep a share of each source's rows, drawn by the seed and the record's id.

    A draw depends on the record's id alone: rows added to a source change no other row's draw.
    """
    fractions = {mix.source: mix.fraction for mix in dataset.mix}
    if all(fraction == 1.0 for fraction in fractions.values()) and dataset.mix_temperature == 1.0:
        return
    counts = {source.name: source.count for source in ledger.rows.sources}
    taken = {
        name: count if fractions[name] == 1.0 else max(1, round(fractions[name] * count))
        for name, count in counts.items()
    }
    taken = tempered(taken, dataset.mix_temperature)
    lost = []
    for source in ledger.rows.sources:
        if taken[source.name] == source.count:
            continue
        draws = [
            draw(seed, identifier)
            for _, batch in source.pieces(["id"])
            for identifier in batch.column(0).to_pylist()
        ]
        order = np.argsort(np.array(draws, dtype=np.uint64), kind="stable")
        lost.append(source.first + order[taken[source.name] :])
    rows = np.sort(np.concatenate(lost)) if lost else np.empty(0, np.int64)
    ledger.record("mix", "sampled-out", drops(rows, "not in the share that is taken"))


def tempered(counts: Mapping[str, int], temperature: float) -> dict[str, int]:
    """Thin counts out to be in proportion to count ** (1 / temperature).

    As many as can be without taking a row twice: the smallest source stays whole. With a large
    temperature all are as small as it (the mixing of mT5, Xue et al. 2021, arXiv:2010.11934).
    """
    filled = [count for count in counts.values() if count]
    least = min(filled, default=0)
    return {
        name: min(count, round(least * (count / least) ** (1 / temperature))) if count else 0
        for name, count in counts.items()
    }


def draw(seed: int, identifier: str) -> int:
    """Draw a number below 2 ** 64 that depends on the seed and the record's id alone."""
    digest = hashlib.blake2b(f"{seed}\n{identifier}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
