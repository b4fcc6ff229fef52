"""Direct preference optimisation with TRL on our own token ids. Loads torch.

DPOTrainer has no path for rows that are tokenised already, but its collator takes exactly our
columns (``prompt_ids``, ``chosen_ids``, ``rejected_ids``). So the one method that templates and
tokenises is replaced; a test holds that the ids reach the model unchanged.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from tuneforge.worker.setup import Setup, trainer_arguments

COLUMNS = ["prompt_ids", "chosen_ids", "rejected_ids"]


class TokenisedDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """A DPOTrainer whose datasets hold token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


def load(path: Path) -> Dataset:
    """Read a rendering of preference pairs."""
    return Dataset(pq.read_table(path, columns=COLUMNS))


def lengths(rows: Dataset) -> Any:
    """Return the tokens of each pair's longer side."""
    prompt, chosen, rejected = (np.asarray(pc.list_value_length(rows.data[c])) for c in COLUMNS)
    return prompt + np.maximum(chosen, rejected)


def trainer(setup: Setup) -> DPOTrainer:
    """Build the trainer; the reference is the policy as it starts, frozen.

    For an adapter that continues another, TRL freezes a copy of it under the name ``ref``. A fresh
    adapter changes nothing yet, so its reference is the base with adapters off, and the copy goes.
    Without an adapter the reference log-probabilities are computed before the first step.
    """
    loss = setup.job["loss"]
    config = DPOConfig(
        **trainer_arguments(setup),
        max_length=None,
        beta=loss["beta"],
        loss_type=[loss["type"]],
        label_smoothing=loss["label_smoothing"],
        precompute_ref_log_probs=not setup.adapter,
    )
    built = TokenisedDPOTrainer(
        model=setup.model,
        args=config,
        train_dataset=setup.train,
        eval_dataset=setup.eval,
        processing_class=setup.tokenizer,
        callbacks=list(setup.callbacks),
    )
    if setup.adapter and not setup.job["start"]:
        setup.model.delete_adapter("ref")
    return built
