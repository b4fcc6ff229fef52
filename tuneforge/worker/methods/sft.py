"""Supervised fine-tuning with TRL on our own labels. Loads torch.

The rows go in as ``input_ids`` and ``labels``, a path SFTTrainer supports: it then neither
templates, nor tokenises, nor masks, nor truncates (``max_length=None``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

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
    args = setup.job["args"]
    config = SFTConfig(
        **trainer_arguments(setup),
        max_length=setup.max_tokens if args["packing"] else None,
        packing=args["packing"],
        packing_strategy="bfd",
        eval_packing=False,
        loss_type="nll",
    )
    return SFTTrainer(
        model=setup.model,
        args=config,
        train_dataset=setup.train,
        eval_dataset=setup.eval,
        processing_class=setup.tokenizer,
        callbacks=list(setup.callbacks),
    )
