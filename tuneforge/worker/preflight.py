"""Checks of every rendered row before a weight is loaded. No torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from tuneforge_specs.errors import DataError, UsageError

MODES: Final = {"sft": ("sft", "text"), "dpo": ("preference",)}
ROWS: Final = 4096


def check(method: str, rendering: dict[str, Any], path: Path, vocab: int, context: int) -> int:
    """Check the rows of a rendering file and return the tokens of the longest.

    ``vocab`` and ``context`` are the base's sizes (``context`` 0: unknown). Raises UsageError
    where the method cannot train on this kind of rendering, DataError naming the first bad row.
    """
    if rendering["mode"] not in MODES[method]:
        raise UsageError(
            f"method {method} cannot train on a {rendering['mode']} rendering ({path.parent.name})",
            f"give it a dataset of {' or '.join(MODES[method])} records",
        )
    rows = _pairs(path) if rendering["mode"] == "preference" else _examples(path)
    longest = 0
    for record, ids, supervised, whole in rows:
        problem = _problem(rendering, ids, supervised, vocab)
        if not problem and whole and rendering["mode"] != "text":
            problem = _never_ends(rendering, ids[supervised])
        if problem:
            raise DataError(
                f"{path}: record {record}: {problem}",
                "this is checked when rows are rendered: the rendering was changed since",
            )
        longest = max(longest, len(ids))
    if not longest:
        raise DataError(f"{path}: there is no row to train on", "curate less strictly")
    if context and longest > context:
        raise DataError(
            f"{path}: the longest row has {longest} tokens; the base takes {context}",
            f"set template.max_tokens to at most {context}",
        )
    return longest


Ids = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Row = tuple[str, Ids, Mask, bool]
"""Record id, token ids, which of them are supervised, and whether the row is whole."""


def _examples(path: Path) -> Iterator[Row]:
    columns = ["record_id", "input_ids", "loss_mask", "verdict"]
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=columns):
        for record, ids, mask, verdict in zip(*(batch.column(c) for c in columns), strict=True):
            yield (
                record.as_py(),
                ids.values.to_numpy(zero_copy_only=False),
                mask.values.to_numpy(zero_copy_only=False).astype(bool),
                verdict.as_py() == "whole",
            )


def _pairs(path: Path) -> Iterator[Row]:
    columns = ["record_id", "verdict", "prompt_ids", "chosen_ids", "rejected_ids"]
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=columns):
        for record, verdict, prompt, *sides in zip(
            *(batch.column(c) for c in columns), strict=True
        ):
            head = prompt.values.to_numpy(zero_copy_only=False)
            for side in sides:
                tail = side.values.to_numpy(zero_copy_only=False)
                supervised = np.zeros(len(head) + len(tail), dtype=bool)
                supervised[len(head) :] = True
                ids = np.concatenate([head, tail])
                yield record.as_py(), ids, supervised, verdict.as_py() == "whole"


def _problem(rendering: dict[str, Any], ids: Ids, supervised: Mask, vocab: int) -> str:
    if len(ids) != len(supervised):
        return f"{len(ids)} tokens, but a mask of {len(supervised)}"
    # the first token is never predicted, so training it alone trains nothing
    if not supervised[1:].any():
        return "no token is supervised"
    if ids.min() < 0 or ids.max() >= vocab:
        return f"token id {ids.max()} is outside the base's vocabulary of {vocab}"
    bos = rendering.get("bos")
    if bos is not None and np.count_nonzero(ids == bos) != 1:
        return f"{np.count_nonzero(ids == bos)} beginning-of-sequence tokens instead of one"
    return ""


def _never_ends(rendering: dict[str, Any], trained: Ids) -> str:
    if np.isin(trained, rendering["terminators"]).any():
        return ""
    return "the end of the turn is not trained, so the model would never stop"
