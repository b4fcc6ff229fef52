"""When training has gone wrong for good. No torch."""

import math
from collections import deque
from statistics import median
from typing import Final

MULTIPLE: Final = 4.0
"""A loss above this many times the running median is one strike."""
STRIKES: Final = 3
"""Consecutive strikes that make a divergence: single bad batches are common, three are not."""
WINDOW: Final = 50
SETTLED: Final = 5
FLOOR: Final = 1.0
"""Losses below this never count: four times 0.01 is no explosion."""


class Divergence:
    """Watch the loss of each step.

    The median is that of the last 50 steps, but never less than that of the first 5: a loss that
    falls to near zero and comes back to where it began has not exploded.
    """

    def __init__(self) -> None:
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._strikes = 0

    def __call__(self, loss: float) -> str:
        """Take one step's loss; return what is wrong, or nothing."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        limit = self.limit()
        self._strikes = self._strikes + 1 if loss > limit else 0
        if self._strikes >= STRIKES:
            return f"the loss is {loss:.4g}, above {limit:.4g} for {STRIKES} steps"
        if len(self._first) < SETTLED:
            self._first.append(loss)
        self._recent.append(loss)
        return ""

    def limit(self) -> float:
        """Return the loss above which a step is a strike; infinite for the first steps."""
        if len(self._first) < SETTLED:
            return math.inf
        return max(FLOOR, MULTIPLE * max(median(self._first), median(self._recent)))
