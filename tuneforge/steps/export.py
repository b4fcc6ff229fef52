"""The export step: make one format, verify it, write its card."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuneforge_specs.errors import UsageError

from tuneforge.step import Artifact, StepContext

if TYPE_CHECKING:
    from tuneforge.card.provenance import Lineage
    from tuneforge.export.job import Job, Trained

VERSION: Final = 2
PROMPTS: Final = 4  # held-out rows that verification generates from
SEQUENCES: Final = 12  # held-out rows whose logits verification compares


def run(context: StepContext) -> None:
    """Write what ships, `verification.json` and the model card; raise GateFailed otherwise."""
    from tuneforge.card.card import CardFacts, write_card
    from tuneforge.card.provenance import lineage
    from tuneforge.export.make import make
    from tuneforge.workspace import Workspace

    settings = context.spec.export[context.step.name]
    found = lineage(Workspace(context.workspace), context.inputs.values())
    job = _job(context, found)
    report = make(job, settings)
    evaluations = {
        role.partition(".")[2]: artifact
        for role, artifact in context.inputs.items()
        if role.startswith("after.")
    }
    facts = CardFacts(
        name=job.name,
        format=settings.format,
        lineage=found,
        report=report,
        evaluations=evaluations,
        gates={name: context.spec.evaluate[name].gate for name in evaluations},
        licenses={name: source.license for name, source in context.spec.sources.items()},
    )
    write_card(context.out, facts)


def _job(context: StepContext, found: "Lineage") -> "Job":
    first = _job_of(context, found, context.inputs["model"], context.spec.build.name, context.out)
    beside = tuple(
        _job_of(context, found, artifact, name, context.out / name)
        for role, artifact in context.inputs.items()
        if (name := role.removeprefix("beside.")) != role
    )
    return replace(first, beside=beside)


def _job_of(
    context: StepContext, found: "Lineage", artifact: Artifact, name: str, out: Path
) -> "Job":
    from tuneforge.card.provenance import read_json
    from tuneforge.export.job import Job
    from tuneforge.export.model_folder import ModelFolder

    folder = model_path(artifact, context.spec.export[context.step.name].format)
    base = context.inputs["base"].path
    return Job(
        name=name,
        model=ModelFolder(folder),
        out=out,
        trained=_trained(found.behind(artifact)),
        report=context.report,
        run_job=lambda job: _run(context, job),
        # Files reached through a link belong to someone else: they must not become read-only.
        linkable=not folder.is_symlink(),
        base=str(read_json(base / "base.json").get("id", "")),
        base_model=ModelFolder(base / "model"),
    )


def model_path(artifact: Artifact, kind: str) -> Path:
    """Return the folder that is exported, or say why this step has none."""
    wanted = "adapter" if kind == "adapter" else "model"
    folder = artifact.path / wanted
    if folder.is_dir():
        return folder
    if wanted == "adapter":
        raise UsageError(
            f'export format "adapter" needs an adapter, but {artifact.step} has full weights',
            "name a train step with an adapter",
        )
    raise UsageError(
        f'export format "{kind}" needs full weights, but {artifact.step} has an adapter',
        'merge it first ([merge.NAME] method = "lora") and export the merge',
    )


def _trained(found: "Lineage") -> "Trained":
    """Read from the renderings behind a model what it was trained to say and where to end."""
    from tuneforge.card.provenance import read_json
    from tuneforge.export.job import Trained
    from tuneforge.export.verify.gguf import Material

    terminators: list[int] = []
    templates: list[str] = []
    sequences: list[tuple[int, ...]] = []
    prompts: list[tuple[int, ...]] = []
    for artifact in found.of_kind("render"):
        facts = read_json(artifact.path / "rendering.json")
        if facts.get("mode") == "text":
            continue
        terminators += [index for index in facts["terminators"] if index not in terminators]
        templates += [facts["chat_template"]] if facts["chat_template"] not in templates else []
        rows = _eval_rows(artifact.path / "eval.parquet")
        sequences += rows.get("input_ids", [])[:SEQUENCES]
        prompts += rows.get("prompt_ids", [])[:PROMPTS]
    material = Material(tuple(sequences[:SEQUENCES]), tuple(prompts[:PROMPTS]))
    return Trained(tuple(terminators), tuple(templates), material)


def _eval_rows(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Return the first held-out rows by column; verification asks the model about these."""
    if not path.is_file():
        return {}
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = [n for n in ("input_ids", "prompt_ids") if n in file.schema_arrow.names]
        batch = next(file.iter_batches(batch_size=SEQUENCES, columns=columns), None)
    if batch is None:
        return {}
    return {
        column: [tuple(row) for row in values if row]
        for column, values in batch.to_pydict().items()
    }


def _run(context: StepContext, job: dict[str, Any]) -> Path:
    from tuneforge.runs import run_job
    from tuneforge.workspace import Workspace

    run_dir = Workspace(context.workspace).run_path(context.step.id, context.key)
    return run_job(run_dir, {**job, "threads": context.threads}, context.report).output
