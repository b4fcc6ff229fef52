"""Prove a finished rendering from its files alone: what was written, not what was meant.

Nothing of the code that renders is used, but for reading the tokenizer and the template's name.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.datasets import Template

from tuneforge_datastore.render.vocabulary import Vocabulary

_MARKER = re.compile(r"<\|[a-z_0-9]+\|>|<(?:start|end)_of_turn>")
_SEQUENCES = {
    "sft": ("input_ids",),
    "text": ("input_ids",),
    "preference": ("chosen_ids", "rejected_ids"),
    "unpaired": ("completion_ids",),
}


@dataclass
class Check:
    """One property: of how many rows it was asked, how many have it not, and the first of them."""

    name: str
    meaning: str
    level: Literal["error", "warning"] = "error"
    rows: int = 0
    failures: int = 0
    example: str = ""

    def note(self, ok: "NDArray[np.bool_]", ids: list[str]) -> None:
        """Count the rows of a batch."""
        self.rows += len(ok)
        wrong = np.flatnonzero(~ok)
        self.failures += len(wrong)
        if len(wrong) and not self.example:
            self.example = ids[int(wrong[0])]


def lint(rendering: Path, model: Path, template: Template) -> list[Check]:
    """Check every row of a rendering, and the template against the tokenizer.

    ``rendering`` holds train.parquet, eval.parquet and rendering.json, ``model`` the tokenizer.
    """
    about = json.loads((rendering / "rendering.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary(model)
    checks = {
        check.name: check
        for check in (
            Check("supervised", "at least one token of the row is trained"),
            Check("counts", "n_tokens and n_supervised are what the row holds"),
            Check("length", f"no row is longer than max_tokens = {about['max_tokens']:,}"),
            Check("vocabulary", "every id is a token of the tokenizer"),
            Check("terminator", "what is trained ends with a token that stops generation"),
            Check("bos", "the row begins with BOS, as the tokenizer's texts do"),
            Check("double-bos", "the row does not begin with two BOS"),
        )
    }
    for split in ("train", "eval"):
        for batch in pq.ParquetFile(rendering / f"{split}.parquet").iter_batches(4096):
            for completion in _SEQUENCES[about["mode"]]:
                _check_rows(_Rows.of(batch, completion), about, vocabulary, checks)
    return [*checks.values(), *_check_template(about, template, vocabulary)]


@dataclass(frozen=True)
class _Rows:
    """One sequence a row: ids and mask end to end, and where each row starts and ends."""

    record_ids: list[str]
    ids: NDArray[np.int32]
    mask: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    whole: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    supervised: NDArray[np.int64] | None

    @classmethod
    def of(cls, batch: pa.RecordBatch, completion: str) -> "_Rows":
        """Put prompt and completion together; the completion is what is trained."""
        rows = batch.to_pydict()
        prompts = rows["prompt_ids"] if completion != "input_ids" else [[]] * batch.num_rows
        whole = [[*head, *tail] for head, tail in zip(prompts, rows[completion], strict=True)]
        masks = rows.get("loss_mask") or [
            [0] * len(head) + [1] * len(tail)
            for head, tail in zip(prompts, rows[completion], strict=True)
        ]
        ends = np.cumsum([len(ids) for ids in whole], dtype=np.int64)
        supervised = rows.get("n_supervised")
        return cls(
            rows["record_id"],
            np.array([token for ids in whole for token in ids], np.int32),
            np.array([on for mask in masks for on in mask], np.uint8),
            np.concatenate([[0], ends[:-1]]),
            ends,
            np.array([verdict == "whole" for verdict in rows["verdict"]]),
            np.array(rows["n_tokens"], np.int64),
            None if supervised is None else np.array(supervised, np.int64),
        )


def _check_rows(
    rows: _Rows, about: dict[str, Any], vocabulary: Vocabulary, checks: dict[str, Check]
) -> None:
    lengths = rows.ends - rows.starts
    trained = _count(rows.mask == 1, rows)
    names = rows.record_ids
    checks["supervised"].note(trained > 0, names)
    if rows.supervised is None:
        checks["counts"].note(lengths <= rows.tokens, names)
    else:
        checks["counts"].note((lengths == rows.tokens) & (trained == rows.supervised), names)
    checks["length"].note(lengths <= about["max_tokens"], names)
    known = (rows.ids >= 0) & (rows.ids < vocabulary.size)
    checks["vocabulary"].note(_count(~known, rows) == 0, names)
    stops = np.isin(rows.ids, [*about["terminators"], *vocabulary.special.values()])
    unended = _count(_last_of_runs(rows) & ~stops, rows)
    checks["terminator"].note((unended == 0) | ~rows.whole, names)
    if about["bos"] is not None:
        # Two more values, so that an empty last row has something to compare.
        bos = np.append(rows.ids == about["bos"], [False, False])
        first = bos[rows.starts] & (lengths > 0)
        checks["bos"].note(first, names)
        checks["double-bos"].note(~(first & bos[rows.starts + 1] & (lengths > 1)), names)


def _count(property_: "NDArray[np.bool_]", rows: _Rows) -> "NDArray[np.int64]":
    """Count in each row the tokens that have the property."""
    before = np.concatenate([[0], np.cumsum(property_, dtype=np.int64)])
    counts: NDArray[np.int64] = before[rows.ends] - before[rows.starts]
    return counts


def _last_of_runs(rows: _Rows) -> "NDArray[np.bool_]":
    """Mark each trained token that is followed by one that is not, or by the row's end."""
    after = np.append(rows.mask[1:], 0)
    after[rows.ends[rows.ends > rows.starts] - 1] = 0
    last: NDArray[np.bool_] = (rows.mask == 1) & (after == 0)
    return last


def _check_template(
    about: dict[str, Any], template: Template, vocabulary: Vocabulary
) -> Iterator[Check]:
    """Look at the template as text: markers the tokenizer does not know, another one of its own."""
    unknown = sorted(set(_MARKER.findall(about["chat_template"])) - set(vocabulary.special))
    # These two write their role markers as ordinary text, as their models were trained.
    written_as_text = template.chat in ("zephyr", "alpaca") or about["mode"] == "text"
    yield Check(
        "unknown-special-tokens",
        "every control token of the template is one special token of the tokenizer",
        "warning" if written_as_text else "error",
        1,
        int(bool(unknown) and not written_as_text),
        ", ".join(unknown),
    )
    own = vocabulary.own_template()
    differs = own is not None and about["mode"] != "text" and own != about["chat_template"]
    yield Check(
        "template-mismatch",
        "the tokenizer has no chat template of its own that differs from the one used "
        f"({template.chat})",
        "warning",
        1,
        int(differs),
        "the tokenizer's own: chat = 'tokenizer'" if differs else "",
    )
    yield Check(
        "tokenizer",
        "the rendering was made with this tokenizer",
        rows=1,
        failures=int(about["tokenizer_sha256"] != vocabulary.sha256),
        example=str(vocabulary.folder),
    )
