"""Job "generate": what models say to held-out prompts, and their loss. Loads torch.

``job["models"]`` maps a name ("model", "base") to what is loaded; the models are measured one after
the other in one process, as starting it costs more than a small model's answers. With
``job["trained"]``, "model" is compared with that one as well. Writes
``outputs.parquet`` (record_id, then for each name its output and whether it stopped) and
``measured.json``; scoring the texts needs no torch and happens elsewhere.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer

from tuneforge.worker.deviation import deviation, logits_of
from tuneforge.worker.model import load_base
from tuneforge.worker.run import WorkerRun
from tuneforge.worker.train import prepare

OUTPUTS: Final = "outputs.parquet"
MEASURED: Final = "measured.json"
COLUMNS: Final = ("record_id", "input_ids", "loss_mask", "prompt_ids")


@dataclass(frozen=True)
class Held:
    """Held-out rows: token ids, loss masks and, for instructions, the prompt of the last answer."""

    record_id: list[str]
    input_ids: list[list[int]]
    loss_mask: list[list[int]]
    prompt_ids: list[list[int]]


@dataclass(frozen=True)
class Answers:
    """The ids each row was answered with, terminator excluded, and whether it ended itself."""

    ids: list[list[int]]
    stopped: list[bool]


def generate(job: dict[str, Any], run: WorkerRun) -> None:
    """Measure every model of the job on its held-out rows."""
    run.phase("loading libraries")
    prepare(job)
    held = read(Path(job["rows_file"]), job["rows"])
    passes = int(job["loss"]) + int(job["generate"])
    progress = Progress(run, len(held.record_id) * passes * len(job["models"]))
    columns: dict[str, list[Any]] = {"record_id": held.record_id}
    measured: dict[str, dict[str, Any]] = {}
    for name, described in job["models"].items():
        run.phase(f"measuring the {name}")
        model = load(described, job["device"])
        measured[name] = {}
        if job["loss"]:
            measured[name]["loss"] = loss(model, held, job["batch"], job["pad"], progress)
        if job["generate"]:
            answers = answer(model, held.prompt_ids, job, progress)
            tokenizer = Tokenizer.from_file(str(Path(described["tokenizer"]) / "tokenizer.json"))
            columns[f"{name}_output"] = tokenizer.decode_batch(answers.ids)
            columns[f"{name}_stopped"] = answers.stopped
            measured[name]["unstopped"] = answers.stopped.count(False)
        if name == "model" and job.get("trained"):
            merged = logits_of(model, held)
        del model
    if job.get("trained"):
        run.phase("measuring the model that was trained")
        trained = logits_of(load(job["trained"], job["device"]), held)
        measured["trained"] = deviation(merged, trained)
    pq.write_table(pa.table(columns), run.output / OUTPUTS, compression="zstd")
    (run.output / MEASURED).write_text(json.dumps(measured, indent=1, sort_keys=True))
    run.summary.update(rows=len(held.record_id), **{n: m for n, m in measured.items() if m})


class Progress:
    """Counts rows, and stops the job between batches when it is asked to."""

    def __init__(self, run: WorkerRun, total: int) -> None:
        self._run, self._total, self._done = run, total, 0

    def __call__(self, rows: int) -> None:
        """Say that so many rows more are done."""
        self._done += rows
        self._run.emit("step", step=self._done, steps=self._total)
        if self._run.stop_requested():
            self._run.stop(self._done, None)


def read(path: Path, rows: int) -> Held:
    """Read the first ``rows`` held-out rows (0: all) of a rendering's eval.parquet."""
    file = pq.ParquetFile(path)
    names = [name for name in COLUMNS if name in file.schema_arrow.names]
    table = file.read(columns=names)
    found = (table.slice(0, rows) if rows else table).to_pydict()
    empty: list[list[int]] = [[] for _ in found["record_id"]]
    return Held(**{name: found.get(name, empty) for name in COLUMNS})


def load(described: dict[str, Any], device: str) -> Any:
    """Load a model folder and, where it has one, the adapter that belongs on it."""
    model = load_base(
        Path(described["path"]),
        dtype=described["dtype"],
        quantize=described["quantize"],
        device=device,
    )
    if described["adapter"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, described["adapter"])
    return model.eval()


def loss(model: Any, held: Held, batch: int, pad: int, progress: Callable[[int], None]) -> float:
    """Return the mean negative log-likelihood of the supervised tokens, in nats."""
    total, count = 0.0, 0
    for rows in batches([len(ids) for ids in held.input_ids], batch):
        width = max(len(held.input_ids[row]) for row in rows)
        ids = padded([held.input_ids[row] for row in rows], width, pad, left=False)
        mask = padded([held.loss_mask[row] for row in rows], width, 0, left=False)
        seen = padded([[1] * len(held.input_ids[row]) for row in rows], width, 0, left=False)
        ids, mask, seen = (part.to(model.device) for part in (ids, mask, seen))
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        nll = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="sum"
        )
        total += nll.item()
        count += int((targets != -100).sum())
        progress(len(rows))
    return total / max(count, 1)


def answer(
    model: Any, prompts: Sequence[list[int]], job: dict[str, Any], progress: Callable[[int], None]
) -> Answers:
    """Continue every prompt greedily until a terminator or ``max_new_tokens``."""
    ids: list[list[int]] = [[] for _ in prompts]
    stopped = [False] * len(prompts)
    ends = set(job["terminators"])
    for rows in batches([len(prompt) for prompt in prompts], job["batch"]):
        width = max(len(prompts[row]) for row in rows)
        given = padded([prompts[row] for row in rows], width, job["pad"], left=True)
        seen = padded([[1] * len(prompts[row]) for row in rows], width, 0, left=True)
        with torch.inference_mode():
            output = model.generate(
                input_ids=given.to(model.device),
                attention_mask=seen.to(model.device),
                do_sample=False,
                # a base's own generation_config may ask for more than plain greedy decoding
                num_beams=1,
                repetition_penalty=1.0,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=job["max_new_tokens"],
                eos_token_id=sorted(ends),
                pad_token_id=job["pad"],
            )
        for row, tokens in zip(rows, output[:, width:].tolist(), strict=True):
            end = next((n for n, token in enumerate(tokens) if token in ends), None)
            ids[row], stopped[row] = tokens[:end], end is not None
        progress(len(rows))
    return Answers(ids, stopped)


def batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield row numbers, rows of like length together, so that little is padding."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(rows: Sequence[Sequence[int]], width: int, fill: int, *, left: bool) -> torch.Tensor:
    """Return rows as one tensor (row, width), filled up on one side."""
    made = torch.full((len(rows), width), fill, dtype=torch.long)
    for number, row in enumerate(rows):
        if row:
            place = slice(width - len(row), None) if left else slice(0, len(row))
            made[number, place] = torch.tensor(row)
    return made
