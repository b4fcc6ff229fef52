"""The entry of the worker process: one job, from its first event to its last."""

import dataclasses
import errno
import os
import shutil
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from tuneforge_specs.errors import EnvironmentMissing, TrainingFailed, TuneforgeError

from tuneforge.runs.folder import RunFolder, worker_lock, write_json
from tuneforge.runs.launcher import LOCK_VARIABLE
from tuneforge.worker import Stopped, WorkerRun, work_of


def main(run_dir: str) -> None:
    """Do the job of a run folder; its launcher hands down the lock, a person has none yet."""
    folder = RunFolder(Path(run_dir).absolute())
    if LOCK_VARIABLE in os.environ:
        _run(folder)
    with worker_lock(folder) as lock:
        if lock is None:
            sys.exit(f"{folder.path}: another worker has this run")
        _run(folder)


def _run(folder: RunFolder) -> NoReturn:
    import psutil

    run = WorkerRun(folder.path)
    run.stop_on_signals()
    me = dataclasses.replace(
        folder.read_worker(),
        pid=os.getpid(),
        born=psutil.Process().create_time(),
        host=socket.gethostname(),
    )
    write_json(folder.worker, dataclasses.asdict(me))
    job = folder.read_job()
    told = {key: job[key] for key in ("device", "backend", "why") if key in job}
    run.emit("started", kind=job["kind"], pid=me.pid, **told)
    event, fields = _last_word(folder, job, run)
    sys.stdout.flush()
    sys.stderr.flush()
    run.emit(event, **fields)
    # not sys.exit: tearing torch down takes a second, and nothing is left to be done
    os._exit(int(fields.get("exit_code", 0)))


def _last_word(
    folder: RunFolder, job: dict[str, Any], run: WorkerRun
) -> tuple[str, dict[str, Any]]:
    begun = time.monotonic()
    try:
        shutil.rmtree(folder.output, ignore_errors=True)
        folder.output.mkdir()
        folder.checkpoints.mkdir(exist_ok=True)
        work_of(job["kind"])(job, run)
    except Stopped as stopped:
        return "stopped", {"step": stopped.step, "checkpoint": stopped.checkpoint}
    except BaseException as error:  # noqa: BLE001 - a worker's last words tell all that ended it
        traceback.print_exc()
        told = translate(error, folder)
        return "failed", {
            "error": type(told).__name__,
            "message": told.message,
            "fix": told.fix,
            "exit_code": told.exit_code,
        }
    seconds = round(time.monotonic() - begun, 3)
    return "done", {"summary": {**run.summary, "seconds": seconds}}


def translate(error: BaseException, folder: RunFolder) -> TuneforgeError:
    """Return the error as a user should see it."""
    if isinstance(error, TuneforgeError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return TrainingFailed(
            f"out of memory: {_first_line(error)}",
            'lower micro_batch or max_tokens, raise accumulate, or set base.quantize = "nf4"',
        )
    if isinstance(error, ModuleNotFoundError):
        return EnvironmentMissing(
            f"the package {error.name!r} is not installed", "pip install 'tuneforge[train]'"
        )
    if _disk_full(error):
        return EnvironmentMissing(
            f"{folder.path}: no space left on the disk",
            "make room and run the same command again; it goes on from the last checkpoint",
        )
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return EnvironmentMissing(f"not permitted: {error}", "make the workspace writable")
    return TuneforgeError(
        f"a bug in the worker: {type(error).__name__}: {_first_line(error)}",
        f"please report it with the traceback at the end of {folder.log}",
    )


def _disk_full(error: BaseException) -> bool:
    # safetensors and torch.save tell it in words, sometimes only in the exception before
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, OSError) and told.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(told) or "os error 28" in str(told):
            return True
        told = told.__cause__ or told.__context__
    return False


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


if __name__ == "__main__":
    main(sys.argv[1])
