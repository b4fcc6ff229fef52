"""The Chat screen: talk to a model that the build has made."""

from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Header, Input, Select, Static
from tuneforge_specs.errors import TuneforgeError
from tuneforge_specs.printing import printable

from tuneforge.workspace import Workspace
from tuneforge_tui.talking import Talk, built_models, training
from tuneforge_tui.widgets.turn import Turn


class ChatScreen(Screen[None]):
    """The model is loaded at the first question and let go when another is chosen."""

    DEFAULT_CSS = """
    ChatScreen #talk { height: 1fr; padding: 0 1; }
    ChatScreen #talk-said { height: 1; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "reset", "New talk"),
        Binding("escape", "cut", "Stop answer"),
    ]

    class Heard(Message):
        """The model's process has said something."""

        def __init__(self, talk: Talk, event: dict[str, Any]) -> None:
            super().__init__()
            self.talk = talk
            self.event = event

    def __init__(self, spec: Path, workspace: Workspace) -> None:
        super().__init__()
        self._spec, self._workspace = spec, workspace
        self._models: list[str] = []
        self._talk: Talk | None = None
        self._answer: Turn | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield Select[str]([], prompt="model", id="model", compact=True)
        yield VerticalScroll(id="talk")
        yield Static(id="talk-said", markup=False)
        yield Input(placeholder="ask, then Enter; Ctrl+Q leaves", id="say")
        yield Footer()

    def on_screen_resume(self) -> None:
        """See which models there are by now; the one that is chosen stays chosen."""
        try:
            names = built_models(self._spec, self._workspace)
        except TuneforgeError as error:
            self._tell(error.message)
            return
        chooser = self.query_one("#model", Select)
        chosen = chooser.value
        if names != self._models:
            self._models = names
            chooser.set_options([(name, name) for name in names])
            if names:
                chooser.value = chosen if chosen in names else names[0]
        if not names:
            self._tell("no model is built yet: F1, then `b`, builds")
        self.query_one("#say", Input).focus()

    def on_unmount(self) -> None:
        if self._talk is not None:
            self._talk.close()

    def make_room(self) -> None:
        """Let the model go, as a build is about to want its memory."""
        if self._answer is not None:
            self._answer.end("stopped: a build has started")
        if self._talk is not None:
            self._let_go()

    def action_reset(self) -> None:
        """Forget what was said."""
        self.query_one("#talk", VerticalScroll).remove_children()
        if self._answer is not None:
            self._let_go()
        elif self._talk is not None:
            self._talk.send(reset=True)

    def action_cut(self) -> None:
        """End an answer that is being made; the model goes with it, and so does what was said."""
        if self._answer is not None:
            self._answer.end("stopped; the talk starts anew")
            self._let_go()

    @on(Select.Changed, "#model")
    def _choose(self) -> None:
        if self._talk is not None and self.query_one("#model", Select).value != self._talk.model:
            self._let_go()
            self.query_one("#talk", VerticalScroll).remove_children()

    @on(Input.Submitted, "#say")
    def _ask(self, event: Input.Submitted) -> None:
        text, model = event.value.strip(), self.query_one("#model", Select).value
        if not text or not isinstance(model, str):
            return
        if self._answer is not None:
            self.notify("it is still answering; Esc stops it", severity="warning")
            return
        if self._talk is None:
            if busy := training(self._workspace):
                self.notify(
                    f"{busy} is running; a second model could take its memory", severity="warning"
                )
                return
            self._talk = Talk(model, self._spec, self._workspace)
            self._listen(self._talk)
        event.input.clear()
        self._answer = Turn(model)
        area = self.query_one("#talk", VerticalScroll)
        area.mount(Turn("you", text), self._answer)
        area.anchor()
        self._talk.send(say=text)

    @work(thread=True)
    def _listen(self, talk: Talk) -> None:
        for event in talk.events():
            self.post_message(self.Heard(talk, event))

    @on(Heard)
    def _hear(self, message: Heard) -> None:
        if message.talk is not self._talk:
            return
        event, name = message.event, message.event["event"]
        if name == "loading":
            self._tell(f"loading {event['model']}")
        elif name == "ready":
            self._tell(str(event["model"]))
        elif name == "piece" and self._answer is not None:
            self._answer.add(printable(event["text"]))
        elif name == "answer" and self._answer is not None:
            cut = "" if event["ended"] else ", cut: it did not end by itself"
            speed = event["tokens"] / max(event["seconds"], 1e-9)
            self._answer.end(f"{event['tokens']} tokens, {speed:.0f}/s{cut}")
            self._answer = None
        elif name == "gone":
            if self._answer is not None:
                self._answer.end(printable(event["message"]) or f"ended with {event['code']}")
            self._let_go()

    def _let_go(self) -> None:
        if self._talk is not None:
            self._talk.close()
        self._talk = self._answer = None
        self._tell("")

    def _tell(self, text: str) -> None:
        self.query_one("#talk-said", Static).update(text)
