"""What the cockpit's background threads tell its screens."""

from pathlib import Path

from textual.message import Message

from tuneforge_tui.feed import Update
from tuneforge_tui.state import StepView


class FeedUpdated(Message):
    """The logs have grown."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.update = update


class BuildAsked(Message):
    """A build is about to start."""


class RunChosen(Message):
    """The user wants to see a run that is not the newest."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run


class PlanReady(Message):
    """The plan was made; a newer one makes an older one pointless."""

    def __init__(self, steps: list[StepView], title: str) -> None:
        super().__init__()
        self.steps = steps
        self.title = title

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, PlanReady)


class PlanFailed(Message):
    """The plan could not be made, for a reason the user can act on."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
