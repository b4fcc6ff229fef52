"""What the cockpit knows, folded from event logs. No Textual here: each rule is a function."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Event = dict[str, Any]
StepState = Literal["planned", "cached", "running", "done", "failed"]
BuildState = Literal["idle", "running", "done", "failed", "interrupted"]

LOG_LINES: Final = 2000


@dataclass
class StepView:
    """One step of the tree. ``fraction`` is None until the step has said how far it is."""

    id: str
    state: StepState = "planned"
    why: str = ""
    key: str = ""
    seconds: float = 0.0
    fraction: float | None = None

    @property
    def kind(self) -> str:
        """The kind of step."""
        return self.id.partition(".")[0]


@dataclass
class RunView:
    """The curves and figures of one run."""

    phase: str = ""
    device: str = ""
    backend: str = ""
    step: int = 0
    steps: int = 0
    loss: list[tuple[float, float]] = field(default_factory=list)
    eval_loss: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    learning_rate: float | None = None
    paused: bool = False
    ended: str = ""

    def apply(self, event: Event) -> str:
        """Fold one run event; return the line it adds to the log, if any."""
        name = str(event["event"])
        if name == "step":
            self._step(event)
        elif name == "eval":
            self._eval(event)
        elif name == "started":
            self.device, self.backend = (
                str(event.get("device") or ""),
                str(event.get("backend") or ""),
            )
            self.ended = ""
        elif name in ("paused", "resumed"):
            self.paused = name == "paused"
        elif name in ("done", "stopped", "failed"):
            self.ended = name
        return _line(name, event)

    def _step(self, event: Event) -> None:
        self.step, self.steps = int(event.get("step", 0)), int(event.get("steps", 0))
        loss = event.get("loss")
        if loss is not None:
            # a resumed run repeats the steps after its checkpoint: the newer point counts
            while self.loss and self.loss[-1][0] >= self.step:
                self.loss.pop()
            self.loss.append((self.step, float(loss)))
        if event.get("memory_bytes"):
            self.memory.append((float(event["t"]), float(event["memory_bytes"])))
        self.tokens_per_second = float(event.get("tokens_per_second") or 0.0)
        self.eta_seconds = event.get("eta_seconds")
        self.learning_rate = event.get("learning_rate")

    def _eval(self, event: Event) -> None:
        step, loss = float(event.get("step", self.step)), event.get("loss")
        if loss is not None:
            while self.eval_loss and self.eval_loss[-1][0] >= step:
                self.eval_loss.pop()
            self.eval_loss.append((step, float(loss)))


@dataclass
class BuildView:
    """The build as its event log tells it."""

    steps: dict[str, StepView] = field(default_factory=dict)
    state: BuildState = "idle"
    pid: int = 0
    current: str = ""
    message: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    def plan(self, steps: list[StepView]) -> None:
        """Set the steps of the tree, in order; what is known of running steps stays."""
        self.steps = {step.id: step for step in steps}

    def apply(self, event: Event) -> str:
        """Fold one build event; return the line it adds to the log, if any."""
        name = event["event"]
        if name == "build_started":
            self.state, self.pid, self.message = "running", int(event.get("pid", 0)), ""
            return "build started"
        if name in ("build_done", "build_failed", "interrupted"):
            return self._end(name, event)
        if name == "gate":
            verdict = "passed" if event.get("passed") else "failed"
            return f"gate {verdict}: {event.get('evaluation')}: {event.get('expression')}"
        if "step" in event and name != "plan":
            return self._step(name, event)
        return ""

    def _end(self, name: str, event: Event) -> str:
        self.state = {"build_done": "done", "build_failed": "failed"}.get(name, "interrupted")  # type: ignore[assignment]
        self.current = ""
        for step in self.steps.values():
            if step.state == "running":
                step.state = "planned" if self.state == "interrupted" else "failed"
        self.message = str(event.get("message", ""))
        text = {"done": "build done", "failed": "build failed"}.get(self.state, "build stopped")
        return f"{text}: {self.message}" if self.message else text

    def _step(self, name: str, event: Event) -> str:
        step = self.steps.setdefault(event["step"], StepView(event["step"]))
        match name:
            case "step_started":
                step.state, step.why, step.key = "running", _text(event.get("why")), event["key"]
                step.fraction = None
                self.current = step.id
                return f"{step.id}: started ({step.why})" if step.why else f"{step.id}: started"
            case "progress":
                total = float(event.get("total") or 0.0)
                step.fraction = min(1.0, float(event["done"]) / total) if total > 0 else None
            case "step_done":
                cached = bool(event.get("cached"))
                step.state = "cached" if cached else "done"
                step.key, step.seconds = event.get("key", step.key), float(event.get("seconds", 0))
                self.current = "" if self.current == step.id else self.current
                return "" if cached else f"{step.id}: done in {step.seconds:.1f} s"
            case "step_failed":
                step.state = "failed"
                return f"{step.id}: failed: {event.get('message', '')}"
            case "log" | "warning":
                return f"{step.id}: {event.get('message', '')}"
        return ""


def _line(name: str, event: Event) -> str:  # noqa: PLR0911 (one line for each kind of event)
    """Write what one run event says in a log; steps and curves say nothing."""
    match name:
        case "started":
            what, device = event.get("backend") or event.get("kind", "run"), event.get("device")
            return f"{what} on {device}" if device else f"{what} started"
        case "phase":
            return str(event.get("name", ""))
        case "eval" if event.get("loss") is not None:
            return f"step {event.get('step', 0)}: eval loss {event['loss']:.4f}"
        case "checkpoint":
            return f"checkpoint at step {event.get('step', 0)}"
        case "oom":
            batch, accumulate = event.get("micro_batch"), event.get("accumulate")
            return f"out of memory: micro_batch {batch}, accumulate {accumulate}"
        case "warning" | "log" | "failed":
            return str(event.get("message", ""))
        case "paused" | "resumed" | "done" | "stopped":
            return name
    return ""


def _text(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def human_bytes(count: float) -> str:
    """Write a byte count with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def human_seconds(seconds: float) -> str:
    """Write a duration in its two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m"
