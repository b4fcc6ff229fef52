"""Runs the steps of a plan in order, each one looked up again once its inputs are known."""

import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tuneforge_specs.errors import Interrupted, TuneforgeError, UsageError
from tuneforge_specs.loader import LoadedSpec

from tuneforge.build.commit import commit, discard, prepare
from tuneforge.build.events import EventLog
from tuneforge.build.failures import as_user_error
from tuneforge.build.gates import check_gates
from tuneforge.build.lockfile import hold_digest
from tuneforge.build.locks import step_lock
from tuneforge.build.publish import publish
from tuneforge.build.reporter import StepReporter
from tuneforge.build.result import BuildOptions, BuildResult
from tuneforge.plan.builder import judge
from tuneforge.plan.definition import PlannedStep
from tuneforge.plan.targets import find_steps
from tuneforge.step import Artifact, StepContext
from tuneforge.steps import STEPS
from tuneforge.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Executor:
    """Carries out one plan; ``result`` grows as it goes."""

    def __init__(
        self,
        loaded: LoadedSpec,
        workspace: Workspace,
        *,
        options: BuildOptions,
        log: EventLog,
        result: BuildResult,
        lock: "Mapping[str, Any]",
    ) -> None:
        self._loaded = loaded
        self._workspace = workspace
        self._options = options
        self._log = log
        self._result = result
        self._lock = lock
        self._forced = find_steps([p.step for p in result.plan], options.force)
        self._blocked: dict[str, str] = {}
        self._failures: list[TuneforgeError] = []

    def run(self) -> None:
        """Run what must run; raise the first error of a step after what may still be done."""
        for planned in self._result.plan:
            if why := self._blocker(planned):
                self._skip(planned.step.id, why)
                continue
            try:
                artifact, cached = self._finish(planned)
                self._done(planned.step.id, artifact, cached=cached)
            except TuneforgeError as error:
                self._fail(planned.step.id, error)
        whole = not (self._options.targets or self._failures or self._result.skipped)
        self.record(whole=whole)
        if self._failures:
            raise self._failures[0]

    def _blocker(self, planned: PlannedStep) -> str:
        for needed in planned.step.inputs.values():
            if needed in self._blocked:
                return self._blocked[needed]
        return ""

    def _skip(self, step: str, why: str) -> None:
        self._blocked[step] = why
        self._result.skipped[step] = why
        self._log.emit("step_skipped", step=step, why=why)

    def _fail(self, step: str, error: TuneforgeError) -> None:
        if isinstance(error, Interrupted):
            raise error
        self._result.failed[step] = error.message
        self._log.emit(
            "step_failed",
            step=step,
            message=error.message,
            fix=error.fix,
            exit_code=error.exit_code,
        )
        if not self._options.keep_going:
            raise error
        self._failures.append(error)
        self._blocked[step] = f"{step} failed"

    def _finish(self, planned: PlannedStep) -> tuple[Artifact, bool]:
        """Give the step's artifact and whether it was there already."""
        step = planned.step
        if planned.status == "cached" and planned.artifact is not None:
            return planned.artifact, True
        forced = step.id in self._forced
        verdict = judge(
            step, self._loaded.path, self._workspace, self._result.artifacts, forced=forced
        )
        if verdict.status == "cached" and verdict.artifact is not None:
            return verdict.artifact, True
        with step_lock(self._workspace, step.id, verdict.key, self._waiting(step.id)):
            made, _ = self._workspace.check(step.id, verdict.key)
            if made is not None and not forced:
                return made, True  # another build made it while this one waited
            return self._run(verdict), False

    def _waiting(self, step: str) -> Any:
        def say(holder: str) -> None:
            who = f"build {holder}" if holder else "another build"
            self._log.emit("log", step=step, message=f"waiting for {who}, which is making this")

        return say

    def _run(self, planned: PlannedStep) -> Artifact:
        step, workspace = planned.step, self._workspace
        if step.id in self._forced:
            self._forget_run(step.id, planned.key)
        self._log.emit(
            "step_started",
            step=step.id,
            key=planned.key,
            why=[str(reason) for reason in planned.reasons],
            expected_seconds=planned.seconds,
        )
        inputs = {role: self._result.artifacts[of] for role, of in step.inputs.items()}
        report = StepReporter(step.id, self._log)
        started = time.monotonic()
        out: Path | None = None
        try:
            out = prepare(workspace, step.id, planned.key)
            context = StepContext(
                step=step,
                spec=self._loaded.spec,
                spec_dir=self._loaded.directory,
                workspace=workspace.root,
                key=planned.key,
                out=out,
                inputs=inputs,
                report=report,
                seed=self._loaded.spec.build.seed,
                threads=len(os.sched_getaffinity(0)),
            )
            import_module(STEPS[step.kind]).run(context)
            seconds = time.monotonic() - started
            artifact = commit(
                workspace,
                planned,
                inputs,
                out,
                seed=context.seed,
                seconds=seconds,
                notes=context.notes,
            )
        except BaseException as error:
            if out is not None:
                discard(out)
            translated = as_user_error(step.id, error, workspace.root)
            if translated is None or translated is error:
                raise
            raise translated from error
        self._result.ran[step.id] = seconds
        self._result.warnings += [(step.id, message) for message in report.warnings]
        return artifact

    def _forget_run(self, step: str, key: str) -> None:
        """Delete the run folder of a forced step: a finished run would be taken as it is."""
        from tuneforge.runs import status

        folder = self._workspace.run_path(step, key)
        if folder.exists() and status(folder).alive:
            raise UsageError(
                f"{step}: a worker is running it, so it cannot be forced",
                f"build without --force to follow it, or stop it: tuneforge stop {folder}",
            )
        discard(folder)

    def _done(self, step: str, artifact: Artifact, *, cached: bool) -> None:
        self._result.artifacts[step] = artifact
        self._log.emit(
            "step_done",
            step=step,
            key=artifact.key,
            digest=artifact.digest,
            seconds=self._result.ran.get(step, 0.0),
            cached=cached,
        )
        if not cached:
            self.record()
        if self._lock:
            hold_digest(self._lock, artifact)
        kind, _, name = step.partition(".")
        if kind == "evaluate":
            self._gate(name, artifact)
        elif kind == "export":
            link_export(self._workspace, name, artifact)

    def record(self, *, whole: bool = False) -> None:
        """Say in the workspace and the store which artifacts are current.

        Steps that this build has not come to keep their last one, unless it was the ``whole`` spec.
        """
        made = self._result.artifacts
        known = {} if whole else self._workspace.current(self._loaded.path)
        try:
            keys = {step: artifact.key for step, artifact in (known | made).items()}
            self._workspace.save_state(self._loaded.path, keys)
            publish(self._workspace, known | made)
        except TuneforgeError as error:
            # The store is derived: what was built stands, and the next build publishes it.
            self._log.emit("warning", step="", message=f"not shown in SQL yet: {error.message}")
        except OSError as error:
            raise as_user_error("build", error, self._workspace.root) or error from error

    def _gate(self, name: str, artifact: Artifact) -> None:
        for gate in check_gates(name, self._loaded.spec.evaluate[name].gate, artifact.path):
            self._result.gates.append(gate)
            self._log.emit(
                "gate",
                evaluation=name,
                expression=gate.expression,
                value=gate.value,
                bound=gate.bound,
                passed=gate.passed,
            )
            if not gate.passed and self._options.enforce_gates:
                self._blocked[f"evaluate.{name}"] = f"gate failed: {gate}"


def link_export(workspace: Workspace, name: str, artifact: Artifact) -> None:
    """Point ``exports/<name>`` at the newest export, in one rename."""
    exports = workspace.root / "exports"
    exports.mkdir(exist_ok=True)
    target = os.path.relpath(artifact.path, exports)
    link = exports / name
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = exports / f".{name}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
