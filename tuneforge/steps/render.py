"""The render step: a curated dataset through its chat template and the base's tokenizer."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge_datastore.render import VERSION

from tuneforge.step import StepContext

if TYPE_CHECKING:
    from tuneforge_datastore.render.dataset import Summary

__all__ = ["VERSION", "run"]

RULES = "rules"  # the note by which a later rendering knows that rows would be equal
LOOKED_AT = 2  # so many earlier renderings, the newest first: a change and its undoing


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
        earlier=lambda rules: earlier_renderings(context, rules),
        progress=lambda done, total: context.report.progress(done, total, "records"),
    )
    context.notes.update({RULES: summary.rules, "reused_records": summary.reused})
    if summary.reused:
        context.report.log(
            f"{summary.reused:,} records are as in an earlier rendering and were not tokenised "
            "again"
        )
    _report(context, summary)


def earlier_renderings(context: StepContext, rules: str) -> list[Path]:
    """Find renderings of the same dataset whose rows may be taken over, each checked whole.

    None is looked for where this very rendering is there already: then it was asked for anew.
    """
    from tuneforge.manifest import compare
    from tuneforge.workspace import Workspace

    workspace = Workspace(context.workspace)
    made = [artifact for artifact in workspace.artifacts() if artifact.step == context.step.id]
    if any(artifact.key == context.key for artifact in made):
        return []
    made = [artifact for artifact in made if artifact.manifest["notes"].get(RULES) == rules]
    made.sort(key=lambda artifact: float(artifact.manifest["created"]), reverse=True)
    sound = (one.path for one in made if not compare(one.path, one.manifest))
    return list(islice(sound, LOOKED_AT))


def _report(context: StepContext, summary: "Summary") -> None:
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
