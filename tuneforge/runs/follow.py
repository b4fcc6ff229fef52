"""Following a run to its end, as any number of readers may."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuneforge_specs import errors
from tuneforge_specs.errors import (
    EnvironmentMissing,
    Interrupted,
    TrainingFailed,
    TuneforgeError,
    UsageError,
)

from tuneforge.runs import launcher
from tuneforge.runs.control import request
from tuneforge.runs.events import TERMINAL, Event, EventReader
from tuneforge.runs.folder import RunFolder
from tuneforge.step import Reporter

POLL: Final = 0.1
SHOWN: Final = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_bytes")


@dataclass(frozen=True)
class Outcome:
    """How a run ended well: its output, what it says of itself, and the warnings on the way."""

    output: Path
    summary: dict[str, Any]
    warnings: tuple[str, ...] = ()
    oom: tuple[dict[str, int], ...] = field(default=())

    def copy_to(self, folder: Path) -> None:
        """Put the output into ``folder``, by links where the file system has them.

        The run keeps its own, so that a build killed now finds the run done.
        """
        for path in sorted(self.output.rglob("*")):
            target = folder / path.relative_to(self.output)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(path)
            except OSError:
                shutil.copy2(path, target)


def run_job(run_dir: Path, job: Mapping[str, Any], report: Reporter) -> Outcome:
    """Launch a job, or join the worker that has it, and follow it to its end."""
    launcher.launch(run_dir, job)
    return follow(run_dir, report)


def follow(run_dir: Path, report: Reporter) -> Outcome:
    """Report the newest attempt of a run until it ends.

    Raises what the worker raised, whole; TrainingFailed with the tail of its log where it died
    without a word; Interrupted where the run was stopped. Ctrl-C asks the worker to stop and waits
    for its checkpoint; a second one leaves it alone.
    """
    folder = RunFolder(run_dir.absolute())
    events = Watch(run_dir)
    try:
        return _followed(folder, events, report)
    except KeyboardInterrupt:
        report.log("stopping after this step; press Ctrl-C again to leave the worker running")
    try:
        if folder.alive():
            request(folder.path, "stop")
        _followed(folder, events, report)
    except (KeyboardInterrupt, UsageError):
        pass
    raise Interrupted(f"{folder.path}: interrupted", "run the same command again to go on")


class Watch:
    """The events of a run's newest attempt, in order, until one ends it.

    Iterating again after an interruption goes on where it was. Raises TrainingFailed where the
    worker died without a word.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder = RunFolder(run_dir.absolute())
        self._reader = EventReader(self._folder.events, self._folder.read_worker().events)
        self.seen: list[Event] = []

    def __iter__(self) -> Iterator[Event]:
        while True:
            alive = self._folder.alive()  # asked before reading, so that last words are heard
            for event in self._reader.read():
                self.seen.append(event)
                yield event
                if event["event"] in TERMINAL:
                    return
            if not alive:
                raise _death(self._folder)
            time.sleep(POLL)


def _followed(folder: RunFolder, events: Watch, report: Reporter) -> Outcome:
    for event in events:
        name = event["event"]
        if name in ("failed", "stopped"):
            raise failure(event)
        if name != "done":
            show(event, report)
    return Outcome(
        output=folder.output,
        summary=events.seen[-1].get("summary", {}),
        warnings=tuple(e["message"] for e in events.seen if e["event"] == "warning"),
        oom=tuple(
            {"micro_batch": e["micro_batch"], "accumulate": e["accumulate"]}
            for e in events.seen
            if e["event"] == "oom"
        ),
    )


def failure(event: Event) -> TuneforgeError:
    """Return the error that a ``failed`` event carries, or Interrupted for ``stopped``."""
    if event["event"] == "stopped":
        return Interrupted(
            f"the run was stopped at step {event.get('step')}",
            "run the same build again to go on from its checkpoint",
        )
    kind = getattr(errors, str(event.get("error")), None)
    message, fix = str(event.get("message", "")), str(event.get("fix", ""))
    if isinstance(kind, type) and issubclass(kind, TuneforgeError) and kind is not errors.SpecError:
        return kind(message, fix)
    return TuneforgeError(f"{event.get('error')}: {message}", fix)


def show(event: Event, report: Reporter) -> None:
    """Hand one event to a reporter."""
    match event["event"]:
        case "started":
            report.log(_line("worker", event, "pid", "device", "backend", "why"))
        case "phase":
            report.log(str(event["name"]))
        case "step":
            report.progress(event["step"], event["steps"], "step")
            report.metrics({key: event[key] for key in SHOWN if event.get(key) is not None})
        case "eval":
            values = {k: v for k, v in event.items() if k not in ("v", "t", "event")}
            report.metrics({f"eval_{k}" if k != "step" else k: v for k, v in values.items()})
        case "checkpoint":
            report.log(f"checkpoint at step {event['step']}")
        case "oom":
            report.warn(
                f"out of memory: going on with micro_batch {event['micro_batch']}, "
                f"accumulate {event['accumulate']}"
            )
        case "warning":
            report.warn(str(event["message"]))
        case "log":
            report.log(str(event["message"]))
        case "paused" | "resumed" as name:
            report.log(name)


def _line(head: str, event: Event, *keys: str) -> str:
    return ", ".join([head, *(f"{key} {event[key]}" for key in keys if event.get(key))])


def _death(folder: RunFolder) -> TuneforgeError:
    if shutil.disk_usage(folder.path).free < 1 << 20:
        return EnvironmentMissing(
            f"{folder.path}: the disk is full, and the worker died of it",
            "make room and run the same command again; it goes on from the last checkpoint",
        )
    how = _exit(folder)
    tail = _tail(folder)
    return TrainingFailed(
        f"{folder.path}: the worker died without a word{how}" + (f"\n{tail}" if tail else ""),
        "run the same command again to go on from the last checkpoint; "
        f"the whole log is {folder.log}",
    )


def _exit(folder: RunFolder) -> str:
    child = launcher.CHILDREN.get(folder.path)
    if child is None:
        return ""
    try:
        code = child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return ""
    if code == -signal.SIGKILL:
        return " (killed: by hand, or by the system for want of memory)"
    return f" (signal {-code})" if code < 0 else f" (exit {code})"


def _tail(folder: RunFolder, lines: int = 12) -> str:
    if not folder.log.exists():
        return ""
    with folder.log.open("rb") as file:
        start = folder.read_worker().log
        size = file.seek(0, 2)
        file.seek(max(start, size - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
