"""The cockpit: a reader of logs and a starter of processes. Closing it stops nothing."""

import sys
import time
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker
from tuneforge_specs.errors import UsageError

from tuneforge.workspace import Workspace
from tuneforge_tui.feed import Feed
from tuneforge_tui.messages import BuildAsked, FeedUpdated, RunChosen
from tuneforge_tui.screens.build import BuildScreen
from tuneforge_tui.screens.chat import ChatScreen
from tuneforge_tui.screens.data import DataScreen
from tuneforge_tui.screens.runs import RunsScreen

POLL_SECONDS = 0.2


class Cockpit(App[None]):
    """One spec, one workspace, four screens."""

    # The footer of a narrow terminal has room for a screen's own keys only.
    TITLE = "Tuneforge  F1 Build  F2 Data  F3 Runs  F4 Chat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "show('build')", "Build", show=False),
        Binding("f2", "show('data')", "Data", show=False),
        Binding("f3", "show('runs')", "Runs", show=False),
        Binding("f4", "show('chat')", "Chat", show=False),
        Binding("d", "quit", "Detach"),
        Binding("q", "quit", "Quit", show=False),
    ]

    def __init__(self, spec: Path, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._feed = Feed(workspace)
        self.build_screen = BuildScreen(spec, workspace)
        self.data_screen = DataScreen(workspace)
        self.runs_screen = RunsScreen(workspace)
        self.chat_screen = ChatScreen(spec, workspace)

    def on_mount(self) -> None:
        self.install_screen(self.build_screen, "build")
        self.install_screen(self.data_screen, "data")
        self.install_screen(self.runs_screen, "runs")
        self.install_screen(self.chat_screen, "chat")
        self.push_screen("build")
        self._follow()

    def action_show(self, screen: str) -> None:
        """Switch to a screen."""
        self.switch_screen(screen)

    @on(BuildAsked)
    def _make_room(self) -> None:
        self.chat_screen.make_room()

    @on(RunChosen)
    def _choose(self, message: RunChosen) -> None:
        self._feed.choose(message.run)

    @work(thread=True)
    def _follow(self) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            if update := self._feed.poll():
                self.build_screen.post_message(FeedUpdated(update))
            time.sleep(POLL_SECONDS)


def open_cockpit(spec: Path, workspace: Path | None) -> None:
    """Show the cockpit until it is closed; what it started goes on.

    Raises UsageError where there is no terminal to show it on.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the cockpit needs a terminal",
            "without one use `tuneforge status` and `tuneforge build`",
        )
    Cockpit(spec, Workspace.of(spec, workspace)).run()
