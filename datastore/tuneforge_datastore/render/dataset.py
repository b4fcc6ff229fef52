"""A whole curated dataset rendered to Parquet, in order, on all cores; known rows taken over."""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.datasets import Template
from tuneforge_specs.errors import DataError

from tuneforge_datastore.render.chunk import TABLES, Chunk, Job, interleave, prepare
from tuneforge_datastore.render.content import COLUMNS, content_of, rules_digest
from tuneforge_datastore.render.earlier import Earlier
from tuneforge_datastore.render.pool import Submit, pool
from tuneforge_datastore.render.rows import Rules
from tuneforge_datastore.render.tables import REUSE, VERDICTS, schemas
from tuneforge_datastore.render.vocabulary import Vocabulary

CHUNK = 1024
_AHEAD = 3  # chunks a core that are under way while one is written
_MODES = {
    frozenset({"instruction"}): "sft",
    frozenset({"instruction", "text"}): "sft",
    frozenset({"text"}): "text",
    frozenset({"preference"}): "preference",
    frozenset({"unpaired"}): "unpaired",
}


@dataclass
class Summary:
    """What a rendering holds; the content of rendering.json, but for how it came about.

    ``reused`` counts records whose rows were taken over; ``rules`` is the digest of all that rows
    depend on besides their records.
    """

    mode: str
    chat_template: str
    terminators: list[int]
    bos: int | None
    pad: int
    max_tokens: int
    tokenizer_sha256: str
    counts: Counter[str] = field(
        default_factory=lambda: Counter(
            dict.fromkeys(("train", "eval", "whole", "truncated", "dropped"), 0)
        )
    )
    rules: str = ""
    reused: int = 0

    def write(self, file: Path) -> None:
        """Write rendering.json: the same bytes for the same rendering."""
        content = {"v": 1, **vars(self), "counts": dict(sorted(self.counts.items()))}
        del content["rules"], content["reused"]
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def render_dataset(
    kept: Path,
    model: Path,
    template: Template,
    *,
    directory: Path,
    out: Path,
    threads: int = 1,
    earlier: Callable[[str], Sequence[Path]] = lambda _rules: (),
    progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> Summary:
    """Render ``kept`` (a dataset's kept.parquet) with the tokenizer in ``model`` into ``out``.

    Writes train.parquet, eval.parquet, verdicts.parquet, reuse.parquet and rendering.json.
    ``directory`` is the base of a template file's path. ``earlier`` is given the digest of the
    rules and gives the folders of sound renderings by the same ones: records that they hold are
    not rendered again. The result depends neither on them nor on ``threads``. Raises ``DataError``
    naming the first record that breaks a rule, or when no row is left to train on.
    """
    source = pq.ParquetFile(kept)
    mode = _mode(kept)
    vocabulary = Vocabulary(model)
    job = Job(mode, template, model, directory)
    rules = prepare(job, vocabulary)
    summary = _describe(mode, rules)
    found = [Earlier(folder, mode) for folder in earlier(summary.rules)] if summary.rules else []
    endings: set[int] = set()
    total = source.metadata.num_rows
    done = 0
    lost = False  # a dataset that is all held out has nothing to train on, and needs nothing
    kinds = {**schemas(mode), "verdicts": VERDICTS, "reuse": REUSE}
    with ExitStack() as opened:
        writers = {
            name: opened.enter_context(
                pq.ParquetWriter(out / f"{name}.parquet", kinds[name], compression="zstd")
            )
            for name in TABLES
        }
        submit = opened.enter_context(pool(job, vocabulary, cores=threads, total=total))
        for chunk, reused in _chunks(source, submit, found, ahead=_AHEAD * threads):
            for name, writer in writers.items():
                if (table := getattr(chunk, name)).num_rows:
                    writer.write_table(table)
            _count(summary.counts, chunk)
            endings.update(pc.unique(pc.list_flatten(chunk.reuse["endings"])).to_pylist())
            lost |= "train" in chunk.verdicts["split"].to_pylist()
            summary.reused += reused
            done += chunk.reuse.num_rows
            progress(done, total)
    if not summary.counts["train"] and (lost or not summary.counts["eval"]):
        raise DataError(
            f"no record of {total:,} is left to train on: {summary.counts['dropped']:,} dropped, "
            f"{summary.counts['eval']:,} held out",
            "look at the reasons in verdicts.parquet; raise template.max_tokens or lower the "
            "eval share",
        )
    # Generation stops at what turns end with, and at the end of a text.
    ends = [*sorted(endings), *([] if vocabulary.eos is None else [vocabulary.eos])]
    summary.terminators = list(dict.fromkeys(ends))
    summary.write(out / "rendering.json")
    return summary


def _mode(kept: Path) -> str:
    kinds = frozenset(pc.unique(pq.read_table(kept, columns=["kind"])["kind"]).to_pylist())
    if not kinds:
        raise DataError(
            "the dataset has no records: every one was filtered out",
            "look at its funnel (tuneforge data funnel) and loosen the filter that drops most",
        )
    if kinds not in _MODES:
        raise DataError(
            f"the dataset mixes records of kinds that do not train together: {sorted(kinds)}",
            "make one dataset of each kind; only instruction and text records may be mixed",
        )
    return _MODES[kinds]


def _describe(mode: str, rules: Rules) -> Summary:
    vocabulary = rules.vocabulary
    return Summary(
        mode=mode,
        chat_template=rules.fitted.template.source,
        terminators=[],
        bos=vocabulary.bos if vocabulary.wants_bos else None,
        pad=vocabulary.pad,
        max_tokens=rules.spec.max_tokens,
        tokenizer_sha256=vocabulary.sha256,
        rules=rules_digest(mode, rules),
    )


def _count(counts: Counter[str], chunk: Chunk) -> None:
    counts["train"] += chunk.train.num_rows
    counts["eval"] += chunk.eval.num_rows
    for verdict in chunk.verdicts["verdict"].to_pylist():
        counts[verdict] += 1
    for column in ("n_tokens", "n_supervised"):
        counts[column] += (
            pc.sum(chunk.train[column]).as_py() or 0 if column in chunk.train.column_names else 0
        )


@dataclass
class _Pending:
    """A chunk under way: what is being rendered, what was found, and the places of both."""

    fresh: Future[Chunk] | None
    parts: list[tuple[Chunk, NDArray[np.int64]]]
    places: NDArray[np.int64]

    def result(self) -> tuple[Chunk, int]:
        """Wait for the chunk; give it and how many of its records were taken over."""
        reused = sum(len(places) for _, places in self.parts)
        if self.fresh is not None:
            if not self.parts:
                return self.fresh.result(), 0
            self.parts.append((self.fresh.result(), self.places))
        return interleave(self.parts), reused


def _chunks(
    source: pq.ParquetFile, submit: Submit, found: Sequence[Earlier], *, ahead: int
) -> Iterator[tuple[Chunk, int]]:
    """Render the records chunk by chunk, in order; give how many of each were taken over."""
    columns = [name for name in ("id", *COLUMNS) if name in source.schema_arrow.names]
    pending: deque[_Pending] = deque()
    for batch in source.iter_batches(batch_size=CHUNK, columns=columns):
        pending.append(_begun(batch, submit, found))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _begun(batch: pa.RecordBatch, submit: Submit, found: Sequence[Earlier]) -> _Pending:
    left = np.arange(batch.num_rows)
    if not found:
        return _Pending(submit(batch), [], left)
    contents = [content_of(record) for record in batch.to_pylist()]
    ids = batch.column("id").to_pylist()
    parts: list[tuple[Chunk, NDArray[np.int64]]] = []
    for one in found:
        records = one.find([contents[place] for place in left])
        known, left = left[records >= 0], left[records < 0]
        if len(known):
            taken = one.take(records[records >= 0], [ids[place] for place in known])
            parts.append((taken, known))
    fresh = submit(batch.take(pa.array(left))) if len(left) else None
    return _Pending(fresh, parts, left)
