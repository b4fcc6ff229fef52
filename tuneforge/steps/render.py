"""The render step: a curated dataset through its chat template and the base's tokenizer."""

from tuneforge.step import StepContext

VERSION = 1


def run(context: StepContext) -> None:
    """Render the dataset of this step; see ``tuneforge_datastore.render.dataset``."""
    from tuneforge_datastore.render.dataset import render_dataset

    dataset = context.spec.datasets[context.step.name]
    summary = render_dataset(
        context.inputs["dataset"].path / "kept.parquet",
        context.inputs["base"].path / "model",
        dataset.template,
        directory=context.spec_dir,
        out=context.out,
        threads=context.threads,
        progress=lambda done, total: context.report.progress(done, total, "records"),
    )
    counts = summary.counts
    context.report.log(
        f"{counts['train']:,} rows to train on ({counts['n_tokens']:,} tokens, "
        f"{counts['n_supervised']:,} of them trained), {counts['eval']:,} held out"
    )
    for verdict in ("dropped", "truncated", "split"):
        # A record that is split has a verdict for each of its rows.
        what = "rows" if verdict == "split" else "records"
        if counts[verdict]:
            context.report.warn(
                f"{counts[verdict]:,} {what} {verdict} in rendering; the reasons are in "
                "verdicts.parquet"
            )
