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
    return SFTTrainer(
        model=setup.model,
        args=config,
        train_dataset=pack_dataset(train, setup.max_tokens, "bfd") if packing else train,
        eval_dataset=setup.eval,
        processing_class=setup.tokenizer,
        callbacks=list(setup.callbacks),
    )
