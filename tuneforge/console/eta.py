"""How long a step still takes."""


class Eta:
    """Judges the time left from progress since it was first seen.

    Not from the start of the step: a resumed run begins in the middle, and loading comes first.
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)
        self._total = 0.0

    def observe(self, done: float, total: float, now: float) -> None:
        """Take in one report of progress at a moment in seconds."""
        if self._first is None or done < self._first[0]:
            self._first = (done, now)
        self._last, self._total = (done, now), total

    def left(self) -> float:
        """Give the seconds left, 0 while nothing is known."""
        if self._first is None or self._last[0] <= self._first[0]:
            return 0.0
        pace = (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
        return pace * max(self._total - self._last[0], 0.0)
