"""One rendered record as runs of tokens: trained, masked, or cut."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from tuneforge_specs.datasets import Template
from tuneforge_specs.errors import DataError

State = Literal["trained", "masked", "cut"]
_UNBOUNDED = 10**9


@dataclass(frozen=True)
class Run:
    """Tokens in a row with one fate."""

    state: State
    text: str
    tokens: int


@dataclass(frozen=True)
class Preview:
    """A rendered record: one sequence, or one for each answer of a preference."""

    record_id: str
    split: str
    verdict: str
    reason: str
    sequences: dict[str, list[Run]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """Where a rendering and what made it are: folders of the artifacts, and the template table."""

    rendering: Path
    model: Path
    dataset: Path
    template: Template
    directory: Path

    def preview(self, record_id: str = "") -> Preview:
        """Show one record, the first that is trained if none is named.

        Raises:
            DataError: the rendering has no such record.
        """
        verdict = self._verdict(record_id)
        shown = Preview(*(verdict[name] for name in ("record_id", "split", "verdict", "reason")))
        stored = self._row(shown.record_id, shown.split)
        whole = stored if shown.verdict == "whole" else self._unbounded(shown.record_id)
        for name, (ids, mask) in _sequences(whole or stored).items():
            held = len(_sequences(stored)[name][0]) if stored else 0
            shown.sequences[name] = self._runs(ids, mask, held)
        return shown

    def _verdict(self, record_id: str) -> dict[str, Any]:
        wanted = ("record_id", "=", record_id) if record_id else ("verdict", "!=", "dropped")
        found = pq.read_table(self.rendering / "verdicts.parquet", filters=[wanted])
        if not len(found):
            raise DataError(
                f"no record {record_id or 'that is trained'} in this rendering",
                "ids are SOURCE:NUMBER; `tuneforge data explain ID` says what became of one",
            )
        first: dict[str, Any] = found.slice(0, 1).to_pylist()[0]
        return first

    def _row(self, record_id: str, split: str) -> dict[str, Any]:
        file = self.rendering / f"{split}.parquet"
        found = pq.read_table(file, filters=[("record_id", "=", record_id)]).to_pylist()
        return found[0] if found else {}

    def _unbounded(self, record_id: str) -> dict[str, Any]:
        """Render the record again without a limit of length."""
        from tuneforge_datastore.render.chunk import Job, prepare, render_chunk
        from tuneforge_datastore.render.dataset import _mode

        kept = self.dataset / "kept.parquet"
        records = pq.read_table(kept, filters=[("id", "=", record_id)]).to_pylist()
        template = self.template.model_copy(update={"max_tokens": _UNBOUNDED})
        mode = _mode(kept)
        rules = prepare(Job(mode, template, self.model, self.directory))
        chunk = render_chunk(mode, records, rules)
        rows = [*chunk.train.to_pylist(), *chunk.eval.to_pylist()]
        return rows[0] if rows else {}

    def _runs(self, ids: list[int], mask: list[int], held: int) -> list[Run]:
        from tuneforge_datastore.render.vocabulary import Vocabulary

        vocabulary = Vocabulary(self.model)
        states: list[State] = [
            "cut" if at >= held else "trained" if trained else "masked"
            for at, trained in enumerate(mask)
        ]
        runs = []
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or states[end] != states[start]:
                text = vocabulary.decode(ids[start:end])
                runs.append(Run(states[start], text, end - start))
                start = end
        return runs


def _sequences(row: dict[str, Any]) -> dict[str, tuple[list[int], list[int]]]:
    """Give the token sequences of a rendered row with their loss masks."""
    if "loss_mask" in row:
        return {"record": (row["input_ids"], row["loss_mask"])}
    prompt = row.get("prompt_ids", [])
    return {
        name: (prompt + row[f"{name}_ids"], [0] * len(prompt) + [1] * len(row[f"{name}_ids"]))
        for name in ("chosen", "rejected", "completion")
        if f"{name}_ids" in row
    }
