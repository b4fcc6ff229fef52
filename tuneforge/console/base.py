"""What a console is."""

from collections.abc import Mapping
from typing import Any, Protocol

Event = Mapping[str, Any]


class Console(Protocol):
    """Shows build events as they come."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silent:
    """Shows nothing."""

    def show(self, event: Event) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""
