"""Job "score": losses of texts under a model, after what stands before them and alone. Loads torch.

Reads ``job["asked"]`` (columns context, text) and writes ``losses.parquet`` (conditioned, alone,
tokens), row by row the mean negative log-likelihoods in nats of the text's tokens. Text and context
are tokenised apart, so both means are of the same tokens. Without a BOS token nothing predicts the
text's first token when it stands alone: it counts in neither.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_specs.errors import TrainingFailed

from tuneforge.worker.generate import batches, padded
from tuneforge.worker.model import load_base
from tuneforge.worker.run import WorkerRun
from tuneforge.worker.train import prepare

LOSSES: Final = "losses.parquet"
BETWEEN: Final = "\n\n"
_SCHEMA: Final = pa.schema(
    [("conditioned", pa.float64()), ("alone", pa.float64()), ("tokens", pa.int64())]
)


class Laid(NamedTuple):
    """Token ids, of which the last ``scored`` count."""

    ids: list[int]
    scored: int


def score(job: dict[str, Any], run: WorkerRun) -> None:
    """Score every row of the job."""
    run.phase("loading the base")
    prepare(job)
    described = job["base"]
    model = load_base(
        Path(described["path"]),
        dtype=described["dtype"],
        quantize=described["quantize"],
        device=job["device"],
    ).eval()
    vocabulary = Vocabulary(Path(described["path"]))
    limit = min(job["max_tokens"], getattr(model.config, "max_position_embeddings", 1 << 30))
    asked = pq.read_table(job["asked"]).to_pylist()
    run.phase("scoring")
    alone, conditioned = laid_out(asked, vocabulary, limit)
    work = [*alone, *(one for one in conditioned if one is not None)]
    means = _means(model, work, job["micro_batch"], vocabulary.pad, run)
    rest = iter(means[len(alone) :])
    after = [None if one is None else next(rest) for one in conditioned]
    columns = [after, means[: len(alone)], [one.scored for one in alone]]
    arrays = [pa.array(column, of.type) for column, of in zip(columns, _SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=_SCHEMA), run.output / LOSSES)
    run.summary.update(rows=len(asked))


def laid_out(
    asked: Sequence[dict[str, str]], vocabulary: Vocabulary, limit: int
) -> tuple[list[Laid], list[Laid | None]]:
    """Give each text alone, and after its context where it has one, in at most ``limit`` tokens.

    Of what is too long the text loses its end and the context its beginning; the context has at
    least as much room as it needs, or half.
    """
    texts = vocabulary.encode([row["text"] for row in asked])
    contexts = vocabulary.encode(
        [row["context"] + BETWEEN if row["context"] else "" for row in asked]
    )
    begin = [vocabulary.bos] if vocabulary.wants_bos and vocabulary.bos is not None else []
    room = limit - len(begin)
    alone: list[Laid] = []
    conditioned: list[Laid | None] = []
    for text, context in zip(texts, contexts, strict=True):
        ids = text.ids[: room - min(len(context.ids), room // 2)]
        scored = max(0, len(ids) - (not begin))
        before = context.ids[max(0, len(context.ids) + len(ids) - room) :]
        alone.append(Laid([*begin, *ids], scored))
        conditioned.append(Laid([*begin, *before, *ids], scored) if before else None)
    return alone, conditioned


def _means(
    model: Any, work: Sequence[Laid], micro_batch: int, pad: int, run: WorkerRun
) -> list[float | None]:
    """Give the mean loss of each sequence's scored tokens; none where there are none."""
    means: list[float | None] = [None] * len(work)
    done = 0
    waiting = list(batches([len(one.ids) for one in work], micro_batch))[::-1]
    while waiting:
        rows = waiting.pop()
        try:
            sums = _sums(model, [work[row] for row in rows], pad)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise TrainingFailed(
                    "out of memory with one text at a time",
                    "lower the filter's max_tokens, or name a smaller base",
                ) from error
            torch.cuda.empty_cache()
            waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            continue
        for row, total in zip(rows, sums, strict=True):
            if work[row].scored:
                means[row] = _finite(total / work[row].scored)
        done += len(rows)
        run.emit("step", step=done, steps=len(work))
        if run.stop_requested():
            run.stop(done, None)
    return means


def _finite(mean: float) -> float:
    if not math.isfinite(mean):
        raise TrainingFailed(
            f"the base's loss of a text is {mean}", 'set base.dtype = "float32", or another base'
        )
    return mean


def _sums(model: Any, rows: Sequence[Laid], pad: int) -> list[float]:
    width = max(1, *(len(one.ids) for one in rows))
    ids = padded([one.ids for one in rows], width, pad, left=False).to(model.device)
    seen = padded([[1] * len(one.ids) for one in rows], width, 0, left=False).to(model.device)
    scored = padded(
        [[0] * (len(one.ids) - one.scored) + [1] * one.scored for one in rows],
        *(width, 0),
        left=False,
    ).to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1]
        where = scored[:, 1:] == 1  # (row, position); a position predicts the token after it
        losses = torch.nn.functional.cross_entropy(
            logits[where].float(), ids[:, 1:][where], reduction="none"
        )
        sums = torch.zeros(len(rows), dtype=torch.float64, device=losses.device)
        sums.index_add_(0, where.nonzero()[:, 0], losses.double())
    found: list[float] = sums.tolist()
    return found
