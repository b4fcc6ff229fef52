"""The training job: checks, model, attempts, result. Loads torch.

An attempt trains from the newest whole checkpoint, or from the start, to the end. Running out of
memory ends an attempt; the next has half the micro batch and twice the accumulation, so that an
optimizer step sees the same rows.
"""

import gc
import json
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import EnvironmentMissing, TrainingFailed

from tuneforge.worker import checkpoints
from tuneforge.worker.memory import peak_memory
from tuneforge.worker.preflight import check
from tuneforge.worker.run import WorkerRun


def train(job: dict[str, Any], run: WorkerRun) -> None:
    """Train as the job says; ``run.output`` gets ``adapter/`` or ``model/`` and training.json."""
    render = Path(job["render"])
    rendering = json.loads((render / "rendering.json").read_text())
    config = json.loads((Path(job["base"]["path"]) / "config.json").read_text())
    config = config.get("text_config") or config
    run.phase("checking the rows")
    for name in ("train.parquet", "eval.parquet"):
        if name == "train.parquet" or has_rows(render / name):
            check(
                job["method"],
                rendering,
                render / name,
                config["vocab_size"],
                config.get("max_position_embeddings", 0),
            )
    run.phase("loading libraries")
    if job["backend"] == "unsloth":
        import unsloth  # noqa: F401 - it patches transformers, TRL and PEFT, so it comes first
    import torch

    prepare(job)
    micro_batch = job["args"]["micro_batch"]
    while True:
        last = checkpoints.newest(run.checkpoints)
        facts = checkpoints.facts_of(last, job) if last else {}
        micro_batch = min(micro_batch, facts.get("micro_batch", micro_batch))
        try:
            attempt(job, run, rendering, last, facts | {"micro_batch": micro_batch})
        except torch.OutOfMemoryError as error:
            if micro_batch == 1:
                raise out_of_memory(error) from error
        else:
            return
        gc.collect()
        if job["device"] == "cuda":
            torch.cuda.empty_cache()
        micro_batch = smaller(micro_batch)
        run.emit("oom", micro_batch=micro_batch, accumulate=rows_a_step(job) // micro_batch)


def prepare(job: dict[str, Any]) -> None:
    """Set threads, seeds and determinism; raise EnvironmentMissing without the job's device."""
    import torch
    from transformers import set_seed

    if job["device"] == "cuda" and not torch.cuda.is_available():
        raise EnvironmentMissing(
            f"there is an NVIDIA GPU, but the installed torch ({torch.__version__}) has no CUDA",
            "install torch for CUDA, or hide the GPU: CUDA_VISIBLE_DEVICES=",
        )
    torch.set_num_threads(job["threads"])
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    set_seed(job["seed"])


def attempt(
    job: dict[str, Any],
    run: WorkerRun,
    rendering: dict[str, Any],
    last: Path | None,
    facts: dict[str, Any],
) -> None:
    """Train once, from the checkpoint ``last`` if there is one, and write the result."""
    from tuneforge.worker import result
    from tuneforge.worker.attempt import Attempt

    accumulate = rows_a_step(job) // facts["micro_batch"]
    made = Attempt(job, run, rendering, facts, accumulate)
    made.train(last)
    metrics = made.evaluate()
    run.phase("saving")
    result.save(made, run.output, metrics)
    run.summary.update(
        metrics,
        steps=made.steps,
        tokens=made.callback.tokens,
        micro_batch=facts["micro_batch"],
        accumulate=accumulate,
        peak_memory_bytes=peak_memory(job["device"]),
    )


def has_rows(path: Path) -> bool:
    """Say whether a Parquet file is there and has rows."""
    import pyarrow.parquet as pq

    return path.is_file() and pq.read_metadata(path).num_rows > 0


def rows_a_step(job: dict[str, Any]) -> int:
    """Return the rows (or packed rows) that one optimizer step sees, whatever the micro batch."""
    return int(job["args"]["micro_batch"] * job["args"]["accumulate"])


def smaller(micro_batch: int) -> int:
    """Return the largest divisor of a micro batch that is at most its half."""
    return next(n for n in range(micro_batch // 2, 0, -1) if micro_batch % n == 0)


def out_of_memory(error: Exception) -> TrainingFailed:
    """Say that one row at a time is still too much."""
    first = (str(error).splitlines() or ["out of memory"])[0]
    return TrainingFailed(
        f"out of memory with one row at a time: {first}",
        'lower template.max_tokens or adapter.r, or set base.quantize = "nf4" and '
        "args.gradient_checkpointing = true",
    )
