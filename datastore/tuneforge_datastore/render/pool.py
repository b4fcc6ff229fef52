"""Where chunks are rendered: threads, or processes where these win."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import Any

import pyarrow as pa

from tuneforge_datastore.render.chunk import Chunk, Job, prepare, render_chunk
from tuneforge_datastore.render.vocabulary import Vocabulary

# Tokenising, two thirds of the work, releases the interpreter's lock, so that two or three threads
# are busy; a process takes two CPU seconds to begin, and pays with more cores and many records.
CORES_FOR_PROCESSES = 4
MANY = 65_536
# Fewer records than this are not worth a thread of their own.
FEW = 2048

Submit = Callable[[pa.RecordBatch], "Future[Chunk]"]


@contextmanager
def pool(job: Job, vocabulary: Vocabulary, *, cores: int, total: int) -> Iterator[Submit]:
    """Give a function that takes records to be rendered; results do not depend on ``cores``."""
    if cores >= CORES_FOR_PROCESSES and total >= MANY:
        context = multiprocessing.get_context("spawn")
        processes = ProcessPoolExecutor(
            cores, mp_context=context, initializer=_begin, initargs=(job,)
        )
        try:
            yield lambda batch: processes.submit(_in_process, batch)
        finally:
            processes.shutdown(cancel_futures=True)
        return
    threads = ThreadPoolExecutor(max(1, min(cores, total // FEW)))
    own = local()

    def render(batch: pa.RecordBatch) -> Chunk:
        # A compiled template notes where turns are, so that each thread has its own.
        if not hasattr(own, "rules"):
            own.rules = prepare(job, vocabulary)
        return render_chunk(job.mode, batch.to_pylist(), own.rules)

    try:
        yield lambda batch: threads.submit(render, batch)
    finally:
        threads.shutdown(cancel_futures=True)


_process: dict[str, Any] = {}


def _begin(job: Job) -> None:
    """Load tokenizer and template once a process; the processes are what uses the cores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _process.update(job=job, rules=prepare(job))


def _in_process(batch: pa.RecordBatch) -> Chunk:
    return render_chunk(_process["job"].mode, batch.to_pylist(), _process["rules"])
