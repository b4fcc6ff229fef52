"""Between transformers' trainer and the run: events out, requests in. Loads torch."""

import time
from collections import deque
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from tuneforge_specs.errors import TrainingFailed

from tuneforge.worker import checkpoints
from tuneforge.worker.divergence import Divergence
from tuneforge.worker.memory import current_memory
from tuneforge.worker.run import WorkerRun

AUTO_SECONDS = 600.0
SHARE = 20  # saving takes at most one part in so many of the time
TIMED = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Report steps, evaluations and checkpoints; obey stop, pause and checkpoint requests."""

    def __init__(self, run: WorkerRun, job: dict[str, Any], facts: dict[str, Any]) -> None:
        self._run = run
        self._job = job
        self._facts = facts
        self._tokens_before = int(facts.get("tokens", 0))
        self._divergence = Divergence(facts.get("losses", ()))
        self._recent: deque[tuple[float, float]] = deque(maxlen=20)
        self.tokens = self._tokens_before
        self.metrics: dict[str, float] = facts.get("metrics", {})
        self.evaluated: dict[str, float] = facts.get("evaluated", {})
        self.evaluated_at = int(facts.get("evaluated_at", -1))
        self.max_steps = int(facts.get("max_steps", 1))
        self.stopped = False
        self._saves_itself = job["args"]["checkpoint_every"] == "auto"
        self._interval = AUTO_SECONDS
        self._saved = self._working = time.monotonic()

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, **__: Any) -> None:
        """Start the clock."""
        self._saved = self._working = time.monotonic()
        self._recent.append((self._saved, self.tokens))

    def on_step_end(self, _args: Any, state: Any, control: Any, **__: Any) -> None:
        """Pause, checkpoint or stop where that was asked for."""
        self._run.wait_while_paused()
        self._working = time.monotonic()
        due = self._saves_itself and self._working - self._saved >= self._interval
        # The end is written anyway.
        if self._run.checkpoint_requested() or (due and state.global_step < state.max_steps):
            control.should_save = True
        if self._run.stop_requested() and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
            self.stopped = True

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **__: Any) -> None:
        """Report a step, and end a training that diverged."""
        if "loss" not in logs:
            return
        self._check(logs, state)
        self.tokens = self._tokens_before + int(logs.get("num_tokens", 0))
        self._recent.append((time.monotonic(), self.tokens))
        (begun, had), (now, has) = self._recent[0], self._recent[-1]
        seconds = max(now - begun, 1e-9)
        self.metrics = {k: v for k, v in logs.items() if k not in ("epoch", "num_tokens")}
        self._run.emit(
            "step",
            step=state.global_step,
            steps=state.max_steps,
            **self.metrics,
            epoch=logs.get("epoch"),
            tokens=self.tokens,
            tokens_per_second=(has - had) / seconds,
            memory_bytes=current_memory(self._job["device"]),
            eta_seconds=(state.max_steps - state.global_step) * seconds / (len(self._recent) - 1),
        )

    def on_evaluate(
        self, _args: Any, state: Any, _control: Any, metrics: Any = None, **__: Any
    ) -> None:
        """Report an evaluation."""
        named = {key.removeprefix("eval_"): value for key, value in metrics.items()}
        self.evaluated = {
            k: v for k, v in named.items() if k not in (*TIMED, "epoch", "num_tokens")
        }
        self.evaluated_at = state.global_step
        self._run.emit("eval", step=state.global_step, **self.evaluated)
        self._recent.clear()  # an evaluation is no training time
        self._working = time.monotonic()
        self._recent.append((self._working, self.tokens))

    def on_save(self, args: Any, state: Any, _control: Any, **__: Any) -> None:
        """Mark the checkpoint complete, and let old ones go."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        facts = {
            **self._facts,
            "tokens": self.tokens,
            "max_steps": state.max_steps,
            "metrics": self.metrics,
            "losses": self._divergence.seen,
            "evaluated": self.evaluated,
            "evaluated_at": self.evaluated_at,
        }
        checkpoints.complete(folder, self._job, facts)
        checkpoints.keep(folder.parent, self._job["args"]["keep_checkpoints"])
        self._saved = time.monotonic()
        self._interval = max(AUTO_SECONDS, SHARE * (self._saved - self._working))
        self._run.emit("checkpoint", step=state.global_step, path=str(folder))

    def _check(self, logs: dict[str, Any], state: Any) -> None:
        problem = self._divergence(float(logs["loss"]), float(logs.get("grad_norm", 1.0)))
        if problem:
            last = checkpoints.newest(Path(self._run.checkpoints))
            kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
            raise TrainingFailed(
                f"training diverged at step {state.global_step}: {problem}; {kept}",
                "lower args.learning_rate, raise args.warmup or lower args.max_grad_norm",
            )
