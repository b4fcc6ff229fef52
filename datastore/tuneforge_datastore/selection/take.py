"""The first records, up to so many rows, words or tokens."""

from typing import Any

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
    if spec.words or spec.tokens:
        texts = rows.texts("whole")
        bounds: list[tuple[int, str, Any]] = [(spec.words, "words", count_words)]
        if spec.tokens:
            from tuneforge_datastore.basemodel import required

            counted = required(desk.base, desk.place).count_tokens
            bounds.append((spec.tokens, "tokens", counted))
        for bound, unit, count in bounds:
            if not bound:
                continue
            sums = np.cumsum(count(texts).to_numpy())
            fitting = int(np.searchsorted(sums, bound, side="right"))
            if fitting < end:
                end, reason = fitting, f"behind the first {bound:,} {unit}"
    desk.ledger.record(desk.stage, "not-taken", drops(numbers[end:], reason))
