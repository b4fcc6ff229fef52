"""When training has gone wrong for good. No torch."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Final

MULTIPLE: Final = 4.0
"""A loss above this many times the running median is one strike."""
STRIKES: Final = 3
"""Consecutive strikes that make a divergence: single bad batches are common, three are not."""
WINDOW: Final = 50
FLOOR: Final = 1.0
"""Losses below this never count: four times 0.01 is no explosion."""


class Divergence:
    """Watch the loss of each step.

    The median is that of the last 50 steps that were no strikes, but never less than the loss of
    the first step, which no update has touched: a loss that falls to near zero and comes back to
    where it began has not exploded. ``seen`` restores the watch after a checkpoint.
    """

    def __init__(self, seen: Iterable[float] = ()) -> None:
        first, *recent = [*seen] or [0.0]
        self._first = first
        self._recent: deque[float] = deque(recent, maxlen=WINDOW)
        self._strikes = 0
        self._dead = 0

    @property
    def seen(self) -> list[float]:
        """Return what a later watch needs to go on."""
        return [self._first, *self._recent]

    def __call__(self, loss: float, gradient: float = 1.0) -> str:
        """Take one step's loss and gradient norm; return what is wrong, or nothing."""
        for name, value in (("loss", loss), ("gradient norm", gradient)):
            if not math.isfinite(value):
                return f"the {name} is {value}"
        if not self._recent:
            self._first = loss
        # a loss of zero may have no gradient; a bad one without is a model that says nothing
        self._dead = self._dead + 1 if gradient == 0 and loss > self._first else 0
        if self._dead >= STRIKES:
            return f"the loss is {loss:.4g}, worse than at first, and the gradient is zero"
        limit = max(FLOOR, MULTIPLE * max(self._first, median(self._recent or [loss])))
        if loss <= limit:
            self._strikes = 0
            self._recent.append(loss)
            return ""
        self._strikes += 1
        if self._strikes < STRIKES:
            return ""
        return f"the loss is {loss:.4g}, above {limit:.4g} for {STRIKES} steps"
