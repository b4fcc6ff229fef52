"""The step that curates a dataset from its sources."""

from pathlib import Path

from tuneforge.step import StepContext

VERSION = 3


def run(context: StepContext) -> None:
    """Write kept, ledger and changes (``.parquet``), and ``funnel.json``."""
    from tuneforge_datastore.curate import Inputs, Resources, curate

    from tuneforge.losses import base_model

    name = context.step.name
    roles = {role: artifact.path for role, artifact in context.inputs.items()}

    def named(prefix: str) -> dict[str, Path]:
        return {
            role.removeprefix(prefix): path
            for role, path in roles.items()
            if role.startswith(prefix)
        }

    made = curate(
        name,
        context.spec.datasets[name],
        Inputs(named("source."), named("against."), context.spec_dir, base_model(context)),
        context.out,
        Resources(
            folder=context.workspace / "tmp",
            threads=context.threads,
            log=context.report.log,
            warn=context.report.warn,
            cache=context.workspace / "cache",
        ),
        seed=context.seed,
    )
    for step in made.funnel:
        if step.get("changed"):
            context.report.log(f"{step['stage']} ({step['rule']}): {step['changed']} changed")
        if step["dropped"]:
            context.report.log(
                f"{step['stage']} ({step['rule']}): -{step['dropped']} -> {step['out']}"
            )
    context.report.metrics(
        {"records": made.records, "kept": made.kept, "train": made.train, "eval": made.eval}
    )
