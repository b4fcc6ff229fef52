"""The worker process: the one place that loads torch, transformers, TRL and PEFT.

``python -m tuneforge.worker RUN_DIR`` reads ``job.json`` and calls the function that `KINDS` names
for its ``kind`` with the job and a `WorkerRun`. Importing this package is light.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

from tuneforge.worker.run import Stopped, WorkerRun

KINDS: Final = {
    "train": "tuneforge.worker.train:train",
    "scratch": "tuneforge.worker.scratch:scratch",
    "smoke": "tuneforge.worker.smoke:smoke",
    "generate": "tuneforge.worker.generate:generate",
    "score": "tuneforge.worker.score:score",
    "soup": "tuneforge.worker.soup:soup",
    "fold": "tuneforge.worker.fold:fold",
    "probe": "tuneforge.worker.probe:probe",
}

Work = Callable[[dict[str, Any], WorkerRun], None]


def work_of(kind: str) -> Work:
    """Return the function that does a job of this kind; ``module:function`` names one directly."""
    module, _, function = KINDS.get(kind, kind).partition(":")
    work: Work = getattr(importlib.import_module(module), function)
    return work


__all__ = ["KINDS", "Stopped", "Work", "WorkerRun", "work_of"]
