"""The Build screen: the step tree, live panes, and the keys that start and stop a build."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Header, Tree
from tuneforge_specs.errors import TuneforgeError

from tuneforge.device import Device, detect
from tuneforge.runs import RunFolder, request
from tuneforge.workspace import Workspace
from tuneforge_tui import launching, planning
from tuneforge_tui.feed import TRAINING, predicted_bytes
from tuneforge_tui.messages import BuildAsked, FeedUpdated, PlanFailed, PlanReady, RunChosen
from tuneforge_tui.screens.plan import PlanScreen
from tuneforge_tui.state import BuildView, RunView, StepView
from tuneforge_tui.widgets.log_tail import LogTail
from tuneforge_tui.widgets.loss_pane import LossPane
from tuneforge_tui.widgets.memory_pane import MemoryPane
from tuneforge_tui.widgets.run_line import RunLine
from tuneforge_tui.widgets.step_tree import StepTree

if TYPE_CHECKING:
    import subprocess


MOST_POINTS: Final = 3600


class BuildScreen(Screen[None]):
    """Everything it shows comes from the logs; everything it does goes through processes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "build", "Start"),
        Binding("s", "stop", "Stop"),
        Binding("p", "pause", "Pause"),
        Binding("c", "checkpoint", "Save"),
        Binding("r", "replan", "Replan"),
        Binding("v", "view", "View plan"),
    ]

    def __init__(self, spec: Path, workspace: Workspace) -> None:
        super().__init__()
        self._spec, self._workspace = spec, workspace
        self._device: Device = detect()
        self._started: subprocess.Popen[bytes] | None = None
        self._run_path: Path | None = None
        self._predicted = 0.0
        self._vram: list[tuple[float, float]] = []
        self.build = BuildView()
        self.run_view: RunView | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield RunLine(id="run-line")
        with Horizontal():
            yield StepTree()
            with Vertical():
                yield LossPane()
                yield MemoryPane()
                yield LogTail()
        yield Footer()

    def on_mount(self) -> None:
        self.action_replan()
        self.set_interval(1.0, self._watch_processes)
        if self._device.kind == "cuda":
            self.set_interval(1.0, self._watch_memory)

    @work(thread=True, exclusive=True, group="plan")
    def action_replan(self) -> None:
        """Make the plan again, beside the event loop: hashing new data can take a while."""
        try:
            plan = planning.plan_of(self._spec, self._workspace)
        except TuneforgeError as error:
            self.post_message(PlanFailed(str(error)))
        else:
            self.post_message(PlanReady(planning.views(plan), plan.name))

    def action_view(self) -> None:
        """Show the plan in full."""
        self.app.push_screen(PlanScreen(self._spec, self._workspace))

    def action_build(self) -> None:
        """Start a build that outlives this program."""
        if self.build.state == "running" and launching.build_alive(self.build.pid):
            self.notify("a build is already running; this is it", severity="warning")
            return
        self.post_message(BuildAsked())
        try:
            self._started = launching.start_build(self._spec, self._workspace)
        except TuneforgeError as error:
            self.notify(str(error), severity="error", timeout=10, markup=False)
            return
        self.query_one(LogTail).add("starting a build")

    def action_stop(self) -> None:
        """Stop the build after the running step's next checkpoint."""
        if self.build.state == "running" and launching.stop_build(self.build.pid):
            self.query_one(LogTail).add("asked the build to stop; `b` goes on from there")
            return
        self._ask("stop")

    def action_checkpoint(self) -> None:
        """Write a checkpoint now."""
        self._ask("checkpoint")

    def action_pause(self) -> None:
        """Pause the run, or let it go on."""
        paused = self.run_view is not None and self.run_view.paused
        self._ask("resume" if paused else "pause")

    def _ask(self, what: str) -> None:
        try:
            if self._run_path is None:
                self.notify("nothing is training", severity="warning")
                return
            request(self._run_path, what)  # type: ignore[arg-type]  # the callers name requests
        except TuneforgeError as error:
            self.notify(error.message, severity="warning", markup=False)
        else:
            self.query_one(LogTail).add(f"asked the run to {what}")

    @on(PlanReady)
    def _show_plan(self, message: PlanReady) -> None:
        self.sub_title = message.title
        if self.build.state != "running":
            self.build.plan(message.steps)
        else:
            known = self.build.steps
            self.build.plan([known.get(step.id, step) for step in message.steps])
        self._refresh()

    @on(PlanFailed)
    def _show_failure(self, message: PlanFailed) -> None:
        self.query_one(LogTail).add(f"planning failed: {message.reason}")
        self.notify(
            message.reason,
            title="the spec cannot be planned",
            severity="error",
            timeout=15,
            markup=False,
        )

    @on(FeedUpdated)
    def _absorb(self, message: FeedUpdated) -> None:
        update, log = message.update, self.query_one(LogTail)
        if update.build is not None:
            known = self.build.steps.values()
            fresh = [StepView(step.id, step.state, step.why, step.key) for step in known]
            self.build = BuildView()
            self.build.plan(fresh)
        for event in update.events:
            if line := self.build.apply(event):
                log.add(line)
            if event["event"] in ("build_done", "build_failed", "interrupted"):
                self.action_replan()
        if update.run is not None:
            self._run_path, self.run_view = update.run, RunView()
            self._predicted = predicted_bytes(update.run)
        for event in update.run_events:
            if self.run_view is not None and (line := self.run_view.apply(event)):
                log.add(line)
        self._refresh()

    def _refresh(self) -> None:
        run = self.run_view
        self.query_one(RunLine).show(self.build, run)
        self.query_one(StepTree).show(self.build.steps.values())
        self.query_one(LossPane).show(run)
        self._show_memory()

    def _show_memory(self) -> None:
        """Show what the driver says is used of the GPU, or what the worker says it holds."""
        gpu, run = self._device.kind == "cuda", self.run_view
        points = self._vram if gpu else run.memory if run else []
        self.query_one(MemoryPane).show(
            "VRAM" if gpu else "memory", points, float(self._device.memory_bytes), self._predicted
        )

    def _watch_memory(self) -> None:
        device = detect()
        self._vram.append((time.time(), float(device.memory_bytes - device.free_bytes)))
        del self._vram[:-MOST_POINTS]
        self._show_memory()

    def _watch_processes(self) -> None:
        if self.build.state == "running" and not launching.build_alive(self.build.pid):
            # the log may hold the build's last words, not yet read
            if self.build.message != "gone":
                self.build.message = "gone"
                return
            self.build.apply({"event": "interrupted", "message": "its process is gone"})
            self.query_one(LogTail).add("the build's process is gone; `b` goes on from there")
            self._refresh()
        if self._started is not None and self._started.poll() is not None:
            if self._started.returncode not in (0, 130) and self.build.state != "failed":
                self.query_one(LogTail).add(launching.last_words(self._workspace))
            self._started = None
            self.action_replan()

    @on(Tree.NodeHighlighted)
    def _explain(self, event: Tree.NodeHighlighted[str]) -> None:
        step = self.build.steps.get(event.node.data or "")
        line = self.query_one(RunLine)
        line.tooltip = step.why if step is not None and step.why else None

    @on(Tree.NodeSelected)
    def _show_run(self, event: Tree.NodeSelected[str]) -> None:
        """Draw the curves of the training step that was chosen."""
        step = self.build.steps.get(event.node.data or "")
        if step is None or step.kind not in TRAINING:
            return
        run = self._workspace.run_path(step.id, step.key) if step.key else None
        if run is None or not RunFolder(run).events.exists():
            self.notify(f"{step.id} has not run yet", severity="warning")
        else:
            self.post_message(RunChosen(run))
