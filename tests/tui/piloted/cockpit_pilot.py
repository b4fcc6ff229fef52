"""Driving the cockpit in a test: opening it, waiting for it, reading its screen."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from tuneforge_tui.app import Cockpit

from tuneforge.workspace import Workspace


def cockpit(spec: Path) -> Cockpit:
    """Open the cockpit of a spec."""
    return Cockpit(spec, Workspace.of(spec))


async def until(pilot: Pilot[None], condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Let the program run until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, screen_text(pilot.app)
        await pilot.pause(0.05)


def screen_text(app: Any) -> str:
    """Return what the screen shows, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def write(path: Path, events: list[dict[str, Any]]) -> None:
    """Write an event log, one second between events."""
    lines = (json.dumps({"v": 1, "t": 1.0 + n, **event}) for n, event in enumerate(events))
    path.write_text("\n".join(lines) + "\n")
