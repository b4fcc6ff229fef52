"""One build from start to end: workspace, plan, execution, gates, lock file, events."""

import os
import time
from collections.abc import Callable

from tuneforge_specs.errors import GateFailed, Interrupted, TuneforgeError
from tuneforge_specs.loader import LoadedSpec

from tuneforge.build.events import EventLog, build_id
from tuneforge.build.executor import Executor
from tuneforge.build.interrupts import handled
from tuneforge.build.lockfile import (
    describe,
    hold,
    lock_path,
    pins,
    read_lock,
    write_lock,
)
from tuneforge.build.locks import clean
from tuneforge.build.preflight import check
from tuneforge.build.result import BuildOptions, BuildResult
from tuneforge.console.base import Console
from tuneforge.plan.builder import Wanted, make_plan
from tuneforge.workspace import Workspace


def build(
    loaded: LoadedSpec,
    workspace: Workspace,
    console: Console,
    options: BuildOptions,
    begun: Callable[[BuildResult], None] = lambda _result: None,
) -> BuildResult:
    """Bring every wanted artifact up to date.

    A gate that fails leaves its error in the result, after everything that does not depend on it
    is done. Raises NotFrozen before anything runs, Interrupted on Ctrl-C, and what a step raised;
    ``begun`` is given the result before the first step, so that a caller has it then, too.
    """
    started = time.monotonic()
    workspace.create()
    clean(workspace)
    lock_file = lock_path(loaded.path)
    wanted = Wanted(options.targets, options.force, pins(read_lock(lock_file)), options.smoke)
    plan = make_plan(loaded, workspace, wanted)
    lock = hold(lock_file, plan, partial=bool(options.targets)) if options.frozen else {}
    check(plan, loaded.spec)
    identity = build_id()
    folder = workspace.root / "builds" / identity
    result = BuildResult(identity, plan, folder)
    begun(result)
    with EventLog(folder, console) as log, handled(log):
        log.emit(
            "build_started",
            spec=str(loaded.path),
            name=plan.name,
            pid=os.getpid(),
            steps=[planned.step.id for planned in plan],
        )
        log.emit("plan", steps=[planned.as_json() for planned in plan])
        executor = Executor(loaded, workspace, options=options, log=log, result=result, lock=lock)
        try:
            executor.run()
        except BaseException as error:
            result.seconds = time.monotonic() - started
            _ended(log, result, error)
            raise
        finally:
            workspace.digests.save()
        if options.enforce_gates and result.failed_gates:
            result.error = _gates_failed(result)
            result.seconds = time.monotonic() - started
            _ended(log, result, result.error)
            return result
        if options.write_lock and not options.frozen and not options.targets:
            made = describe(plan, result.artifacts)
            if not write_lock(lock_file, made):
                log.emit("warning", step="", message=f"{lock_file}: not writable, not updated")
        result.seconds = time.monotonic() - started
        log.emit("build_done", summary=result.as_json())
    return result


def _gates_failed(result: BuildResult) -> GateFailed:
    lines = "\n".join(f"  {gate}, needs {gate.bound:.4g}" for gate in result.failed_gates)
    skipped = ", ".join(result.skipped)
    return GateFailed(
        f"gates failed:\n{lines}" + (f"\nnot built: {skipped}" if skipped else ""),
        "improve the data or the training, or change the gate; "
        "what passed is cached and will not run again",
    )


def _ended(log: EventLog, result: BuildResult, error: BaseException) -> None:
    if isinstance(error, Interrupted | KeyboardInterrupt):
        log.emit("interrupted", summary=result.as_json())
    elif isinstance(error, TuneforgeError):
        log.emit(
            "build_failed",
            message=error.message,
            fix=error.fix,
            exit_code=error.exit_code,
            summary=result.as_json(),
        )
    else:
        log.emit("build_failed", message=repr(error), fix="", exit_code=1)
