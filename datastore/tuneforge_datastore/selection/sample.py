"""A seeded sample of so many records."""

import numpy as np
from numpy.typing import NDArray
from tuneforge_specs.selection import SampleSelection

from tuneforge_datastore.ledger import drops
from tuneforge_datastore.mix import draw
from tuneforge_datastore.selection import Desk


def run(spec: SampleSelection, desk: Desk) -> None:
    """Keep the records with the lowest draws: one added elsewhere displaces one at most."""
    numbers = desk.ledger.rows.numbers()
    lost = np.sort(numbers[drawn(desk, numbers)[spec.rows :]])
    desk.ledger.record(
        desk.stage, "sampled-out", drops(lost, f"not among the {spec.rows:,} records drawn")
    )


def drawn(desk: Desk, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the places of rows in the order of their draws."""
    draws = [draw(desk.seed, identifier) for identifier in desk.ids.take(numbers).to_pylist()]
    return np.argsort(np.array(draws, dtype=np.uint64), kind="stable")
