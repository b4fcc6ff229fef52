"""Starting the worker of a run: once, detached, whoever asks."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import EnvironmentMissing, UsageError

from tuneforge.runs.control import clear
from tuneforge.runs.events import read_events, repair
from tuneforge.runs.folder import RunFolder, Worker, worker_lock, write_json

LOCK_VARIABLE: Final = "TUNEFORGE_WORKER_LOCK"
CHILDREN: Final[dict[Path, "subprocess.Popen[bytes]"]] = {}
"""Workers that this process started, to reap them and to learn how they died."""


def launch(run_dir: Path, job: Mapping[str, Any]) -> None:
    """Start ``python -m tuneforge.worker RUN_DIR`` unless a live worker has it or it is done.

    ``job`` must have ``kind``; ``threads`` sets the worker's thread count. A run whose newest
    attempt ended well for the same job is left alone, so that `follow` returns at once. Raises
    UsageError where a live worker has another job, EnvironmentMissing where the folder cannot be
    written.
    """
    folder = RunFolder(run_dir.absolute())
    try:
        folder.control.mkdir(parents=True, exist_ok=True)
        with worker_lock(folder) as lock:
            if lock is None:
                _same_job(folder, job)
            elif not _finished(folder, job):
                _start(folder, job, lock)
    except OSError as error:
        raise EnvironmentMissing(
            f"{run_dir}: the worker cannot be started: {error.strerror or error}",
            "make the workspace writable and see that the disk has space",
        ) from error


def _same_job(folder: RunFolder, job: Mapping[str, Any]) -> None:
    if folder.read_job() != dict(job):
        raise UsageError(
            f"{folder.path}: a worker is running here with another job",
            f"let it end, or stop it first: tuneforge stop {folder.path}",
        )


def _finished(folder: RunFolder, job: Mapping[str, Any]) -> bool:
    if folder.read_job() != dict(job) or not folder.output.is_dir():
        return False
    events = read_events(folder.events, folder.read_worker().events)
    return bool(events) and events[-1]["event"] == "done"


def _start(folder: RunFolder, job: Mapping[str, Any], lock: int) -> None:
    clear(folder)
    write_json(folder.job, job)
    size = folder.log.stat().st_size if folder.log.exists() else 0
    write_json(folder.worker, dataclasses.asdict(Worker(events=repair(folder.events), log=size)))
    with folder.log.open("ab") as log:
        CHILDREN[folder.path] = subprocess.Popen(
            # -P: a folder named like a library in the user's directory must not shadow it
            [sys.executable, "-P", "-m", "tuneforge.worker", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env=_environment(job, lock),
            pass_fds=(lock,),
            start_new_session=True,
        )


def _environment(job: Mapping[str, Any], lock: int) -> dict[str, str]:
    threads = str(job.get("threads", 1))
    # bitsandbytes loads torch's compiler at import, a sixth of the start-up; only Unsloth uses it
    compiler = {} if job.get("device") == "cuda" else {"TORCHDYNAMO_DISABLE": "1"}
    # Waiting threads sleep instead of spinning: on a machine that others use too, a spinning thread
    # takes the core from the one it waits for (a small model: 2.4 s a step instead of 0.25).
    waiting = {"OMP_WAIT_POLICY": "passive"}
    return {
        **compiler,
        **waiting,
        **os.environ,
        LOCK_VARIABLE: str(lock),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
