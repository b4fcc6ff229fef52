"""A whole curated dataset rendered to Parquet, in order, on several processes if it is large."""

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tuneforge_specs.datasets import Template
from tuneforge_specs.errors import DataError

from tuneforge_datastore.render.chunk import Chunk, Job, prepare, render_chunk
from tuneforge_datastore.render.tables import VERDICTS, schemas
from tuneforge_datastore.render.templating import fit
from tuneforge_datastore.render.vocabulary import Vocabulary

CHUNK = 1024
# Below this a second process costs more to start than it saves.
MANY = 8 * CHUNK
_MODES = {
    frozenset({"instruction"}): "sft",
    frozenset({"instruction", "text"}): "sft",
    frozenset({"text"}): "text",
    frozenset({"preference"}): "preference",
    frozenset({"unpaired"}): "unpaired",
}


@dataclass
class Summary:
    """What a rendering holds; the content of rendering.json."""

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

    def write(self, file: Path) -> None:
        """Write rendering.json: the same bytes for the same rendering."""
        content = {"v": 1, **vars(self), "counts": dict(sorted(self.counts.items()))}
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def render_dataset(
    kept: Path,
    model: Path,
    template: Template,
    *,
    directory: Path,
    out: Path,
    threads: int = 1,
    progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> Summary:
    """Render ``kept`` (a dataset's kept.parquet) with the tokenizer in ``model`` into ``out``.

    Writes train.parquet, eval.parquet, verdicts.parquet and rendering.json. ``directory`` is the
    base of a template file's path. The result does not depend on ``threads``. Raises ``DataError``
    naming the first record that breaks a rule, or when no row is left to train on.
    """
    source = pq.ParquetFile(kept)
    mode = _mode(kept)
    vocabulary = Vocabulary(model)
    summary = _describe(mode, vocabulary, template, directory)
    endings: set[int] = set()
    job = Job(mode, template, model, directory)
    total = source.metadata.num_rows
    done = 0
    lost = False  # a dataset that is all held out has nothing to train on, and needs nothing
    tables = schemas(mode)
    with (
        pq.ParquetWriter(out / "train.parquet", tables["train"], compression="zstd") as train,
        pq.ParquetWriter(out / "eval.parquet", tables["eval"], compression="zstd") as held,
        pq.ParquetWriter(out / "verdicts.parquet", VERDICTS, compression="zstd") as verdicts,
    ):
        for chunk in _chunks(job, source, threads if total >= MANY else 1):
            for writer, table in (
                (train, chunk.train),
                (held, chunk.eval),
                (verdicts, chunk.verdicts),
            ):
                if table.num_rows:
                    writer.write_table(table)
            _count(summary.counts, chunk)
            endings |= chunk.endings
            lost |= "train" in chunk.verdicts["split"].to_pylist()
            done += chunk.verdicts.num_rows
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


def _describe(mode: str, vocabulary: Vocabulary, template: Template, directory: Path) -> Summary:
    fitted = fit(template.chat, vocabulary, directory)
    return Summary(
        mode=mode,
        chat_template=fitted.template.source,
        terminators=[],
        bos=vocabulary.bos if vocabulary.wants_bos else None,
        pad=vocabulary.pad,
        max_tokens=template.max_tokens,
        tokenizer_sha256=vocabulary.sha256,
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


def _chunks(job: Job, source: pq.ParquetFile, processes: int) -> Iterator[Chunk]:
    """Render the records chunk by chunk, in order."""
    batches = source.iter_batches(batch_size=CHUNK)
    if processes <= 1:
        rules = prepare(job)
        yield from (render_chunk(job.mode, batch.to_pylist(), rules) for batch in batches)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(job,)
    ) as pool:
        pending: list[Future[Chunk]] = []
        for batch in batches:
            pending.append(pool.submit(_render, batch))
            if len(pending) > 2 * processes:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()


_worker: dict[str, Any] = {}


def _begin(job: Job) -> None:
    """Load tokenizer and template once a process."""
    _worker.update(job=job, rules=prepare(job))


def _render(batch: pa.RecordBatch) -> Chunk:
    return render_chunk(_worker["job"].mode, batch.to_pylist(), _worker["rules"])
