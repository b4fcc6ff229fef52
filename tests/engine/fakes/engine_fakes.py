"""Step kinds that take milliseconds, each a real function of its parameters, inputs and files.

Run as a script it is the command line with these steps: `python engine_fakes.py build spec.toml`.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

from tuneforge.build import executor, session
from tuneforge.digest import value_digest
from tuneforge.step import StepContext
from tuneforge.steps import STEPS


def note(context: StepContext) -> None:
    """Record that a step ran, as one short atomic append."""
    with (context.spec_dir / "ran.log").open("a") as log:
        log.write(f"{context.step.id}\n")


def hook(context: StepContext) -> None:
    """Do what a test asked of this step through a file `hooks.json`: {step: [what, ...]}."""
    path = context.spec_dir / "hooks.json"
    asked = json.loads(path.read_text()).get(context.step.id, []) if path.exists() else []
    for what in asked:
        kind, _, value = what.partition(":")
        if kind == "sleep":
            (context.spec_dir / "sleeping").write_text(context.step.id)
            time.sleep(float(value))
        elif kind == "full":
            raise OSError(28, "No space left on device", str(context.out / "x"))
        elif kind == "error":
            from tuneforge_specs import errors

            raise getattr(errors, value)("as asked", "do not ask")
        elif kind == "bug":
            raise ZeroDivisionError("as asked")
        elif kind == "once":
            hooks = json.loads(path.read_text())
            del hooks[context.step.id]
            path.write_text(json.dumps(hooks))


def source(context: StepContext) -> None:
    lines = [line for path in context.step.files.values() for line in path.read_text().split()]
    (context.out / "records.txt").write_text("\n".join(lines))


def dataset(context: StepContext) -> None:
    """Keep the words of at least `filters[0].min` characters."""
    spec = context.spec.datasets[context.step.name]
    least = getattr(spec.filters[0], "min", 0) if spec.filters else 0
    kept = []
    for mix in spec.mix:
        folder = context.inputs[f"source.{mix.source}"].path
        words = (folder / "records.txt").read_text().split()
        kept += [word for word in words if len(word) >= least]
    (context.out / "kept.txt").write_text("\n".join(kept))
    total = sum(
        len((found.path / "records.txt").read_text().split())
        for role, found in context.inputs.items()
        if role.startswith("source.")
    )
    rows = [
        {"stage": "read", "rule": "read", "in": total, "dropped": 0, "out": total},
        {
            "stage": "filters[0]",
            "rule": "length",
            "in": total,
            "dropped": total - len(kept),
            "out": len(kept),
        },
    ]
    (context.out / "funnel.json").write_text(json.dumps(rows))


def mixed(context: StepContext) -> None:
    """Write a digest of all that the step may depend on."""
    inputs = {role: artifact.digest for role, artifact in sorted(context.inputs.items())}
    value = value_digest([dict(context.step.params), inputs])
    (context.out / "model").mkdir()
    (context.out / "model" / "weights.bin").write_text(value)
    context.report.progress(1, 2, "step")
    context.report.metrics({"loss": 1.25})
    context.report.progress(2, 2, "step")
    context.notes["device"] = "none"


def evaluate(context: StepContext) -> None:
    """Measure what the file `score` says, and half of it for the base."""
    score = float((context.spec_dir / "score").read_text())
    metrics = {"metrics": {"exact-match": score, "loss": 1.0}, "base": {"exact-match": score / 2}}
    (context.out / "metrics.json").write_text(json.dumps(metrics | {"rows": 7}))


RUNS = {"source": source, "dataset": dataset, "evaluate": evaluate}


def publish(workspace, artifacts) -> None:
    """Record what would be published."""
    (workspace.root / "published").write_text(json.dumps({s: a.key for s, a in artifacts.items()}))


def install() -> None:
    """Put the fakes in place of every step kind and of the store."""
    executor.publish = publish
    session.check = lambda *_: None  # the fakes need no packages
    for kind in list(STEPS):
        module = ModuleType(f"fake_{kind}")
        work = RUNS.get(kind, mixed)

        def run(context: StepContext, work=work) -> None:
            note(context)
            hook(context)
            work(context)

        module.VERSION = 1
        module.run = run
        sys.modules[module.__name__] = module
        STEPS[kind] = module.__name__


SPEC = """\
spec = 1

[build]
name = "fake"

[sources.words]
path = "words.txt"
license = "CC0-1.0"

[datasets.d]
from = [{ source = "words" }]
filters = [{ kind = "length", of = "completion", min = 3 }]
template = { max_tokens = 512 }

[base.scratch]
corpus = ["words"]

[train.t]
method = "sft"
dataset = "d"

[merge.m]
method = "lora"
inputs = [{ train = "t" }]

[evaluate.e]
model = "m"
dataset = "d"
metrics = ["exact-match", "loss"]
gate = ["exact-match >= 0.5"]

[export.x]
format = "safetensors"
model = "m"
"""


class Project:
    """A spec with data in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = folder / "spec.toml"
        self.spec.write_text(SPEC)
        (folder / "words.txt").write_text("a bb ccc dddd eeeee")
        (folder / "score").write_text("0.9")

    @property
    def ran(self) -> list[str]:
        """The steps that ran since it was last asked."""
        log = self.folder / "ran.log"
        steps = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return steps

    def edit(self, before: str, after: str) -> None:
        """Change the spec's text."""
        text = self.spec.read_text()
        assert before in text
        self.spec.write_text(text.replace(before, after))

    def hooks(self, **steps: list[str]) -> None:
        """Ask for something to happen in steps, named with __ for the dot."""
        asked = {step.replace("__", "."): what for step, what in steps.items()}
        (self.folder / "hooks.json").write_text(json.dumps(asked))


if __name__ == "__main__":
    install()
    from tuneforge.cli import main

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    code = main()
    if "FAKES_MODULES" in os.environ:
        Path(os.environ["FAKES_MODULES"]).write_text("\n".join(sys.modules))
    sys.exit(code)
