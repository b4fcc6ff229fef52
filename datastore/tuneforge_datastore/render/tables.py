"""The Parquet tables of a rendering; their schemas are what trainers and evaluations read."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from tuneforge_datastore.render.pairs import Answers
from tuneforge_datastore.render.rows import Row

_IDS = pa.list_(pa.int32())
_ROWS = pa.schema(
    [
        ("record_id", pa.string()),
        ("input_ids", _IDS),
        ("loss_mask", pa.list_(pa.uint8())),
        ("n_tokens", pa.int32()),
        ("n_supervised", pa.int32()),
        ("verdict", pa.string()),
    ]
)
_PROMPTED = _ROWS.append(pa.field("prompt_ids", _IDS)).append(pa.field("reference", pa.string()))
_PAIRS = pa.schema(
    [
        ("record_id", pa.string()),
        ("prompt_ids", _IDS),
        ("chosen_ids", _IDS),
        ("rejected_ids", _IDS),
        ("n_tokens", pa.int32()),
        ("verdict", pa.string()),
    ]
)
_UNPAIRED = pa.schema(
    [
        ("record_id", pa.string()),
        ("prompt_ids", _IDS),
        ("completion_ids", _IDS),
        ("label", pa.bool_()),
        ("n_tokens", pa.int32()),
        ("verdict", pa.string()),
    ]
)
VERDICTS = pa.schema(
    [
        ("record_id", pa.string()),
        ("split", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("n_tokens", pa.int32()),
        ("n_supervised", pa.int32()),
    ]
)
# What a later rendering needs to take over the rows of a record: its content, how many rows of each
# table are its own, and the tokens its turns end with.
REUSE = pa.schema(
    [
        ("content", pa.binary(16)),
        ("train", pa.int32()),
        ("eval", pa.int32()),
        ("verdicts", pa.int32()),
        ("endings", _IDS),
    ]
)


def schemas(mode: str) -> dict[str, pa.Schema]:
    """Give the schemas of train.parquet and eval.parquet of a mode."""
    if mode == "sft":
        return {"train": _ROWS, "eval": _PROMPTED}
    one = {"text": _ROWS, "preference": _PAIRS, "unpaired": _UNPAIRED}[mode]
    return {"train": one, "eval": one}


def _lists(values: Iterable[Sequence[int]]) -> pa.Array:
    """Make a list column of ids; flat arrays, as Python lists are slow to convert one by one."""
    flat = array("i")
    ends = [0]
    for value in values:
        flat.extend(value)
        ends.append(len(flat))
    return pa.ListArray.from_arrays(np.array(ends, np.int32), np.array(flat, np.int32))


def _masks(values: Iterable[bytearray]) -> pa.Array:
    held = list(values)
    ends = np.cumsum([0, *map(len, held)], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, np.frombuffer(b"".join(held), np.uint8))


def rows(found: Sequence[Row], *, prompts: bool = False) -> pa.Table:
    """Make the table of instruction and text rows; with ``prompts``, that of held-out ones."""
    columns = {
        "record_id": [row.record_id for row in found],
        "input_ids": _lists(row.ids for row in found),
        "loss_mask": _masks(row.mask for row in found),
        "n_tokens": [len(row.ids) for row in found],
        "n_supervised": [row.n_supervised for row in found],
        "verdict": [row.verdict for row in found],
    }
    if not prompts:
        return pa.table(columns, _ROWS)
    columns["prompt_ids"] = _lists(row.prompt_ids for row in found)
    columns["reference"] = [row.reference for row in found]
    return pa.table(columns, _PROMPTED)


def pairs(found: Sequence[Answers]) -> pa.Table:
    """Make the table of preference pairs."""
    columns = {
        "record_id": [one.row.record_id for one in found],
        "prompt_ids": _lists(one.prompt_ids for one in found),
        "chosen_ids": _lists(one.completion_ids[0] for one in found),
        "rejected_ids": _lists(one.completion_ids[1] for one in found),
        "n_tokens": [_longest(one) for one in found],
        "verdict": [one.row.verdict for one in found],
    }
    return pa.table(columns, _PAIRS)


def unpaired(found: Sequence[Answers]) -> pa.Table:
    """Make the table of labelled completions."""
    columns = {
        "record_id": [one.row.record_id for one in found],
        "prompt_ids": _lists(one.prompt_ids for one in found),
        "completion_ids": _lists(one.completion_ids[0] for one in found),
        "label": [one.label for one in found],
        "n_tokens": [_longest(one) for one in found],
        "verdict": [one.row.verdict for one in found],
    }
    return pa.table(columns, _UNPAIRED)


def _longest(answers: Answers) -> int:
    return len(answers.prompt_ids) + max(map(len, answers.completion_ids))


def verdicts(found: Sequence[Row]) -> pa.Table:
    """Make the table of what happened to each record; ``n_tokens`` counts before any cut."""
    columns = {name: [getattr(row, name) for row in found] for name in VERDICTS.names}
    return pa.table(columns, VERDICTS)


def reuse(contents: Sequence[bytes], found: Sequence[Sequence[Row]]) -> pa.Table:
    """Make the table of records; ``found`` are the rows of each."""
    kept = [[row.split for row in own if row.verdict != "dropped"] for own in found]
    columns = {
        "content": pa.array(contents, pa.binary(16)),
        "train": [own.count("train") for own in kept],
        "eval": [own.count("eval") for own in kept],
        "verdicts": [len(own) for own in found],
        "endings": _lists(sorted(set().union(*(row.endings for row in own))) for own in found),
    }
    return pa.table(columns, REUSE)
