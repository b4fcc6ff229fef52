"""Supervised fine-tuning with TRL on our own labels. Loads torch.

The rows go in as ``input_ids`` and ``labels`` with ``skip_prepare_dataset``, a documented path of
SFTTrainer that Unsloth's version of it honours too: nothing is templated, tokenised, masked or
truncated. So packing is called here, with TRL's own function.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from trl import SFTConfig, SFTTrainer, pack_dataset

from tuneforge.worker.setup import Setup, trainer_arguments

IGNORED = -100


def load(path: Path) -> Dataset:
    """Read a rendering; the label of a token that is not supervised is -100."""
    table = pq.read_table(path, columns=["input_ids", "loss_mask"])
    chunks = []
    for batch in table.to_batches():
        ids, mask = batch.column("input_ids"), batch.column("loss_mask")
        flat = ids.flatten().to_numpy(zero_copy_only=False)
        supervised = mask.flatten().to_numpy(zero_copy_only=False).astype(bool)
        labels = np.where(supervised, flat, IGNORED).astype(np.int32)
        lengths = np.asarray(ids.value_lengths())
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        chunks.append(pa.ListArray.from_arrays(offsets, pa.array(labels)))
    labelled = pa.chunked_array(chunks, type=pa.list_(pa.int32()))
    return Dataset(pa.table({"input_ids": table["input_ids"], "labels": labelled}))


def lengths(rows: Dataset) -> Any:
    """Return the tokens of each row, packed or not."""
    return np.asarray(pc.list_value_length(rows.data["input_ids"]))


class TokenWeighted(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer whose loss of held-out rows is the mean over their tokens, as `evaluate` has it.

    The mean over batches that it replaces counts a token of a short batch more than others.
    """

    _held_out: list[tuple[float, int]] | None = None  # only while held-out rows are measured

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Note the loss of a held-out batch and the tokens that it is the mean of."""
        if self._held_out is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        self._held_out.append((float(loss), tokens))
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
        """Evaluate, and put the mean over tokens in the place of that over batches."""
        seen: list[tuple[float, int]] = []
        self._held_out = seen
        try:
            found = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        finally:
            self._held_out = None
        tokens = sum(count for _, count in seen)
        total = sum(loss * count for loss, count in seen if count)
        found.metrics[f"{metric_key_prefix}_loss"] = total / max(tokens, 1)
        return found


def trainer(setup: Setup) -> SFTTrainer:
    """Build the trainer.

    Packing is ``bfd``: whole rows, best fit, no row cut. The collator flattens them and gives
    position ids that start anew with each row, from which transformers builds a block-diagonal
    mask; without a cache (SFTTrainer passes ``use_cache=False``) nothing leaks between rows.
    """
    packing, train = setup.job["args"]["packing"], setup.train
    config = SFTConfig(
        **trainer_arguments(setup),
        max_length=setup.max_tokens if packing else None,
        packing=packing,
        eval_packing=False,
        padding_free=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        loss_type="nll",
    )
    return TokenWeighted(
        model=setup.model,
        args=config,
        train_dataset=pack_dataset(train, setup.max_tokens, "bfd") if packing else train,
        eval_dataset=setup.eval,
        processing_class=setup.tokenizer,
        callbacks=list(setup.callbacks),
    )
