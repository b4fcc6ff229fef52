"""Plain lines, for logs and terminals without movement."""

import time
from collections.abc import Callable
from typing import Any, TextIO

from tuneforge.console.base import Event
from tuneforge.console.eta import Eta
from tuneforge.console.text import live, number, seconds

INTERVAL = 10.0


class Plain:
    """Writes a line for what matters; progress at most every ten seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._index = 0
        self._total = 0
        self._eta = Eta()
        self._told = 0.0
        self._values: dict[str, Any] = {}

    def show(self, event: Event) -> None:
        """Show one event; kinds that say nothing to a reader are left out."""
        shown = getattr(self, f"_{event['event']}", None)
        if shown is not None:
            shown(event)

    def close(self) -> None:
        """Do nothing: the stream is not ours."""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _build_started(self, event: Event) -> None:
        self._total = len(event["steps"])
        self._line(f"building {event['name']}: {self._total} steps")

    def _plan(self, event: Event) -> None:
        cached = sum(step["status"] == "cached" for step in event["steps"])
        if cached:
            self._line(f"  {cached} cached, {self._total - cached} to do or to check")

    def _step_started(self, event: Event) -> None:
        self._index += 1
        self._told = self._clock()
        self._eta = Eta()
        self._values = {}
        why = "; ".join(event["why"][:3]) + ("; ..." if len(event["why"]) > 3 else "")
        last = event["expected_seconds"]
        expected = f", last time {seconds(last)}" if last else ""
        self._line(f"[{self._index}/{self._total}] {event['step']}: {why}{expected}")

    def _step_done(self, event: Event) -> None:
        if event["cached"]:
            self._index += 1
        else:
            self._line(f"  done in {seconds(event['seconds'])}")

    def _step_skipped(self, event: Event) -> None:
        self._index += 1
        self._line(f"[{self._index}/{self._total}] {event['step']}: left out, {event['why']}")

    def _step_failed(self, event: Event) -> None:
        self._line(f"  failed: {event['message'].splitlines()[0]}")

    def _metrics(self, event: Event) -> None:
        self._values |= event["values"]

    def _progress(self, event: Event) -> None:
        now = self._clock()
        done, total = event["done"], event["total"]
        self._eta.observe(done, total, now)
        if now - self._told < INTERVAL:
            return
        self._told = now
        text = f"  {event['step']} {number(done)}"
        if total:
            text += f"/{number(total)} {event['unit']}"
            if left := self._eta.left():
                text += f", {seconds(left)} left"
        values = live(self._values)
        self._line(f"{text}, {values}" if values else text)

    def _log(self, event: Event) -> None:
        self._line(f"  {event['message']}")

    def _warning(self, event: Event) -> None:
        self._line(f"  warning: {event['message']}")

    def _gate(self, event: Event) -> None:
        verdict = "passed" if event["passed"] else "FAILED"
        self._line(
            f"  gate {event['evaluation']}: {event['expression']} {verdict} "
            f"({event['value']:.4g}, bound {event['bound']:.4g})"
        )

    def _interrupted(self, _event: Event) -> None:
        self._line("stopped; the next build goes on from here")
