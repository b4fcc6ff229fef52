"""One chunk of records rendered to Arrow tables: the unit of work of a thread or process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tuneforge_specs.datasets import Template

from tuneforge_datastore.render import tables
from tuneforge_datastore.render.content import content_of
from tuneforge_datastore.render.pairs import pair_rows, unpaired_rows
from tuneforge_datastore.render.rows import Record, Row, Rules, instruction_rows, text_rows
from tuneforge_datastore.render.templating import fit
from tuneforge_datastore.render.vocabulary import Vocabulary

TABLES = ("train", "eval", "verdicts", "reuse")


@dataclass(frozen=True)
class Job:
    """All that a process needs to render chunks."""

    mode: str
    template: Template
    model: Path
    directory: Path


@dataclass(frozen=True)
class Chunk:
    """The rendered tables of one chunk; ``reuse`` has a row a record, the others any number."""

    train: pa.Table
    eval: pa.Table
    verdicts: pa.Table
    reuse: pa.Table

    def counts(self, table: str) -> NDArray[np.int64]:
        """Give how many rows of a table each record has."""
        if table == "reuse":
            return np.ones(self.reuse.num_rows, np.int64)
        found: NDArray[np.int64] = self.reuse[table].to_numpy().astype(np.int64)
        return found


def prepare(job: Job, vocabulary: Vocabulary | None = None) -> Rules:
    """Fit the template to the tokenizer, which is loaded unless given."""
    vocabulary = vocabulary or Vocabulary(job.model)
    return Rules.of(job.template, vocabulary, fit(job.template.chat, vocabulary, job.directory))


def render_chunk(mode: str, records: list[Record], rules: Rules) -> Chunk:
    """Render records of one mode. Raises ``DataError`` naming the record that cannot be."""
    if mode in ("preference", "unpaired"):
        answers = (pair_rows if mode == "preference" else unpaired_rows)(records, rules)
        make = tables.pairs if mode == "preference" else tables.unpaired
        kept = [one for one in answers if one.row.verdict != "dropped"]
        rows = [one.row for one in answers]
        train = make([one for one in kept if one.row.split == "train"])
        held = make([one for one in kept if one.row.split == "eval"])
    else:
        rows = _in_order(records, rules)
        kept_rows = [row for row in rows if row.verdict != "dropped"]
        train = tables.rows([row for row in kept_rows if row.split == "train"])
        held = tables.rows([row for row in kept_rows if row.split == "eval"], prompts=mode == "sft")
    return Chunk(train, held, tables.verdicts(rows), _reuse(records, rows))


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put ranges end to end: ``counts[i]`` places from ``starts[i]`` on."""
    before = np.cumsum(counts) - counts
    places: NDArray[np.int64] = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    return places


def interleave(parts: Sequence[tuple[Chunk, NDArray[np.int64]]]) -> Chunk:
    """Join chunks into one in which each record has the place that is given for it."""
    order = np.argsort(np.concatenate([places for _, places in parts]), kind="stable")
    joined = []
    for table in TABLES:
        counts = np.concatenate([chunk.counts(table) for chunk, _ in parts])
        rows = ranges((np.cumsum(counts) - counts)[order], counts[order])
        whole = pa.concat_tables([getattr(chunk, table) for chunk, _ in parts])
        joined.append(whole.take(pa.array(rows)).combine_chunks())
    return Chunk(*joined)


def _in_order(records: list[Record], rules: Rules) -> list[Row]:
    """Render instructions and texts, which have different rules, and keep the records' order."""
    by_record: dict[str, list[Row]] = {}
    texts = text_rows([r for r in records if r["kind"] == "text"], rules)
    talks = instruction_rows([r for r in records if r["kind"] != "text"], rules)
    for row in (*texts, *talks):
        by_record.setdefault(row.record_id, []).append(row)
    return [row for record in records for row in by_record[record["id"]]]


def _reuse(records: list[Record], rows: list[Row]) -> pa.Table:
    by_record: dict[str, list[Row]] = {record["id"]: [] for record in records}
    for row in rows:
        by_record[row.record_id].append(row)
    found = list(by_record.values())
    return tables.reuse([content_of(record) for record in records], found)
