"""One module per kind of step, loaded by name when a step of that kind runs."""

STEPS: dict[str, str] = {
    "source": "tuneforge.steps.source",
    "dataset": "tuneforge.steps.dataset",
    "base": "tuneforge.steps.base",
    "render": "tuneforge.steps.render",
    "train": "tuneforge.steps.train",
    "merge": "tuneforge.steps.merge",
    "evaluate": "tuneforge.steps.evaluate",
    "export": "tuneforge.steps.export",
}
