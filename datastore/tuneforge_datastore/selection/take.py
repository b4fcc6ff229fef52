"""The first records, up to so many rows or words."""

import numpy as np
from tuneforge_specs.selection import TakeSelection

from tuneforge_datastore.ledger import drops
from tuneforge_datastore.selection import Desk
from tuneforge_datastore.wordcount import count_words


def run(spec: TakeSelection, desk: Desk) -> None:
    """Drop from the first record on that does not fit; the records kept are the beginning."""
    rows = desk.ledger.rows
    numbers = rows.numbers()
    end = min(len(numbers), spec.rows or len(numbers))
    reason = f"behind the first {spec.rows:,} records"
    if spec.words:
        words = np.cumsum(count_words(rows.texts("whole")).to_numpy())
        fitting = int(np.searchsorted(words, spec.words, side="right"))
        if fitting < end:
            end, reason = fitting, f"behind the first {spec.words:,} words"
    desk.ledger.record(desk.stage, "not-taken", drops(numbers[end:], reason))
