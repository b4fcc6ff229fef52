"""One attempt at a training job: model, rows, trainer, and the worst batch first. Loads torch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, TrainerState

from tuneforge.worker import checkpoints
from tuneforge.worker.callback import RunCallback
from tuneforge.worker.methods import method_of
from tuneforge.worker.model import load_model, load_tokenizer
from tuneforge.worker.run import WorkerRun
from tuneforge.worker.setup import Setup


class Attempt:
    """A trainer for a job, at a micro batch."""

    def __init__(
        self,
        job: dict[str, Any],
        run: WorkerRun,
        rendering: dict[str, Any],
        facts: dict[str, Any],
        accumulate: int,
    ) -> None:
        self.job = job
        self._run = run
        self._method = method_of(job["method"])
        self.callback = RunCallback(run, job, facts)
        run.phase("loading the model")
        torch.manual_seed(job["seed"])
        self.tokenizer = load_tokenizer(job, rendering)
        self.model = load_model(job, rendering["max_tokens"], run)
        render = Path(job["render"])
        train, held = self._method.load(render / "train.parquet"), render / "eval.parquet"
        evaluation = self._method.load(held) if held.is_file() else None
        setup = Setup(
            job=job,
            model=self.model,
            tokenizer=self.tokenizer,
            train=train,
            eval=evaluation if evaluation is not None and len(evaluation) else None,
            checkpoints=run.checkpoints,
            micro_batch=facts["micro_batch"],
            accumulate=accumulate,
            max_tokens=rendering["max_tokens"],
            callbacks=(self.callback,),
        )
        self._special = special_tokens(self.model)
        kept = [(p, p.data) for p in self.model.parameters() if p.requires_grad]
        self.trainer = self._method.trainer(setup)
        # TRL casts the adapter of a quantised model to bfloat16. There an update smaller than
        # 1/256 of a weight is lost, and a reference copied before the cast is not the policy.
        for parameter, data in kept:
            parameter.data = data
        self.trainer.add_callback(WorstFirst(self.trainer, self._method.lengths, setup))
        self.trainer.remove_callback(PrinterCallback)
        if setup.adapter:
            # The reference adapter is rebuilt from the start, never saved: transformers would
            # resume from it instead of the policy. No embedding is saved either: asking whether
            # the vocabulary grew would go to the hub.
            save = partial(self.model.save_pretrained, selected_adapters=["default"])
            self.model.save_pretrained = partial(save, save_embedding_layers=False)

    @property
    def steps(self) -> int:
        """Return the optimizer steps done."""
        return int(self.trainer.state.global_step)

    def train(self, last: Path | None) -> None:
        """Train to the end, from a checkpoint if there is one; raise Stopped when asked to."""
        self._run.phase("training")
        if last and checkpoints.step_of(last) >= self.callback.max_steps:
            # killed between the last step and the result; transformers would train one step more
            self._load(last)
        else:
            self.trainer.train(resume_from_checkpoint=str(last) if last else None)
        for holder, names in self._special:
            for name, value in names.items():
                setattr(holder, name, value)
        if self.callback.stopped:
            folder = self._run.checkpoints / f"checkpoint-{self.steps}"
            self._run.stop(self.steps, folder)

    def evaluate(self) -> dict[str, float]:
        """Return the last step's metrics, and those of the held-out rows."""
        if self.trainer.eval_dataset is not None and self.callback.evaluated_at != self.steps:
            self._run.phase("evaluating")
            self.trainer.evaluate()
        held = {f"eval_{key}": value for key, value in self.callback.evaluated.items()}
        return {**self.callback.metrics, **held}

    def _load(self, checkpoint: Path) -> None:
        self.trainer._load_from_checkpoint(str(checkpoint))  # noqa: SLF001 - it has no public name
        self.trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


class WorstFirst(TrainerCallback):  # type: ignore[misc]
    """Before the first step, push the longest rows through forward and backward.

    If anything runs out of memory it is this, now, and not the one long batch hours from here. The
    gradients are thrown away and the random state is restored, so that training is as without it.
    """

    def __init__(self, trainer: Any, lengths: Callable[[Any], Any], setup: Setup) -> None:
        self._trainer = trainer
        self._lengths = lengths
        self._setup = setup

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Try the worst batch; raise torch.OutOfMemoryError where it does not fit."""
        trainer, cuda = self._trainer, self._setup.job["device"] == "cuda"
        rows = trainer.train_dataset
        worst = np.argsort(-self._lengths(rows), kind="stable")[: self._setup.micro_batch]
        batch = trainer.data_collator([rows[int(index)] for index in worst])
        trainer.current_gradient_accumulation_steps = 1
        with torch.random.fork_rng(devices=[0] if cuda else []):
            reserved = optimizer_memory(trainer.model) if cuda else []
            trainer.training_step(trainer.model_wrapped, batch)
            del reserved
        trainer.model.zero_grad()
        trainer._metrics["train"].clear()  # noqa: SLF001 - TRL would report the trial as a step
        trainer._total_train_tokens = 0  # noqa: SLF001


def optimizer_memory(model: Any) -> list[torch.Tensor]:
    """Hold what AdamW's two moments will take: they are made only at the first step."""
    return [torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(2)]


def special_tokens(model: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Note the special token ids of a model's configs, which TRL and transformers overwrite."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    holders = (model.config, model.generation_config)
    return [(holder, {name: getattr(holder, name, None) for name in names}) for holder in holders]
