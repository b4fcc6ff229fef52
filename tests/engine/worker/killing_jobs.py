"""Jobs that are killed at a step, as ``kill -9`` would at that moment."""

import os
import signal
from typing import Any

from tuneforge.worker import WorkerRun, work_of


def _killed_at(step: int, run: WorkerRun) -> None:
    emit = run.emit

    def emit_and_die(event: str, **fields: Any) -> None:
        emit(event, **fields)
        if event == "step" and fields["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    run.emit = emit_and_die  # type: ignore[method-assign]


def scratch(job: dict[str, Any], run: WorkerRun) -> None:
    from tuneforge.worker import scratch as module

    module.CHECKPOINT_SECONDS = 0.0  # type: ignore[misc]
    _killed_at(job["die_at"], run)
    work_of("scratch")(job, run)


def train(job: dict[str, Any], run: WorkerRun) -> None:
    step = job.pop("die_at")
    job["kind"] = "train"
    _killed_at(step, run)
    work_of("train")(job, run)
