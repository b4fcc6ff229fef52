"""The base model as a curation sees it: its tokenizer, and losses that a worker computes."""

import json
from typing import TYPE_CHECKING, Any

from tuneforge.digest import value_digest
from tuneforge.step import StepContext
from tuneforge.steps.train import compute_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuneforge_datastore.basemodel import Asked, BaseModel, Loss
    from tuneforge_specs.filters import Scored


def base_model(context: StepContext) -> "BaseModel | None":
    """Give the base of a dataset step; nothing for one that does without."""
    if "base" not in context.inputs:
        return None
    from tuneforge_datastore.basemodel import BaseModel

    from tuneforge.device import detect

    device = detect()
    settings = context.spec.base
    artifact = context.inputs["base"]
    described = {
        "path": str(artifact.path / "model"),
        "quantize": settings.quantize,
        "dtype": compute_dtype(settings, device),
    }
    facts = json.loads((artifact.path / "base.json").read_text())
    told = [facts["digest"], described["quantize"], described["dtype"], device.kind]

    def score(asked: "Sequence[Asked]", spec: "Scored", place: str) -> "list[Loss]":
        job = {
            "kind": "score",
            "base": described,
            "device": device.kind,
            "seed": context.seed,
            "threads": context.threads,
            "max_tokens": spec.max_tokens,
            "micro_batch": spec.micro_batch,
        }
        context.report.log(f"{place}: {len(asked):,} texts go through the base")
        return _scored(context, job, asked)

    return BaseModel(artifact.path / "model", value_digest(told), score)


def _scored(context: StepContext, job: dict[str, Any], asked: "Sequence[Asked]") -> "list[Loss]":
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tuneforge_datastore.basemodel import Loss

    from tuneforge.runs import run_job
    from tuneforge.workspace import Workspace

    digest = value_digest([job, [list(one) for one in asked]])
    run_dir = Workspace(context.workspace).run_path(context.step.id, digest)
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / "asked.parquet"
    columns = {name: [getattr(one, name) for one in asked] for name in ("context", "text")}
    pq.write_table(pa.table(columns), file)
    outcome = run_job(run_dir, {**job, "asked": str(file)}, context.report)
    found = pq.read_table(outcome.output / "losses.parquet").to_pydict()
    file.unlink(missing_ok=True)  # the records are in the workspace already
    return list(map(Loss, found["conditioned"], found["alone"], found["tokens"]))
