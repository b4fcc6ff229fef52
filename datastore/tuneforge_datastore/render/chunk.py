"""One chunk of records rendered to Arrow tables: the unit of work of a process."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tuneforge_specs.datasets import Template

from tuneforge_datastore.render import tables
from tuneforge_datastore.render.pairs import pair_rows, unpaired_rows
from tuneforge_datastore.render.rows import Record, Row, Rules, instruction_rows, text_rows
from tuneforge_datastore.render.templating import fit
from tuneforge_datastore.render.vocabulary import Vocabulary


@dataclass(frozen=True)
class Job:
    """All that a process needs to render chunks."""

    mode: str
    template: Template
    model: Path
    directory: Path


@dataclass(frozen=True)
class Chunk:
    """The rendered tables of one chunk, and the tokens its assistant turns end with."""

    train: pa.Table
    eval: pa.Table
    verdicts: pa.Table
    endings: frozenset[int]


def prepare(job: Job) -> Rules:
    """Load the tokenizer and fit the template."""
    vocabulary = Vocabulary(job.model)
    return Rules.of(job.template, vocabulary, fit(job.template.chat, vocabulary, job.directory))


def render_chunk(mode: str, records: list[Record], rules: Rules) -> Chunk:
    """Render records of one mode. Raises ``DataError`` naming the record that cannot be."""
    if mode in ("preference", "unpaired"):
        answers = (pair_rows if mode == "preference" else unpaired_rows)(records, rules)
        make = tables.pairs if mode == "preference" else tables.unpaired
        kept = [one for one in answers if one.row.verdict != "dropped"]
        train = make([one for one in kept if one.row.split == "train"])
        held = make([one for one in kept if one.row.split == "eval"])
        verdicts = tables.verdicts([one.row for one in answers])
        return Chunk(train, held, verdicts, frozenset(rules.endings))
    rows = _in_order(records, rules)
    kept_rows = [row for row in rows if row.verdict != "dropped"]
    train = tables.rows([row for row in kept_rows if row.split == "train"])
    held = tables.rows([row for row in kept_rows if row.split == "eval"], prompts=mode == "sft")
    return Chunk(train, held, tables.verdicts(rows), frozenset(rules.endings))


def _in_order(records: list[Record], rules: Rules) -> list[Row]:
    """Render instructions and texts, which have different rules, and keep the records' order."""
    by_record: dict[str, list[Row]] = {}
    texts = text_rows([r for r in records if r["kind"] == "text"], rules)
    talks = instruction_rows([r for r in records if r["kind"] != "text"], rules)
    for row in (*texts, *talks):
        by_record.setdefault(row.record_id, []).append(row)
    return [row for record in records for row in by_record[record["id"]]]
