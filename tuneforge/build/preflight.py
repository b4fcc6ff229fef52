"""What would fail hours later, found before anything runs: packages and backends."""

from collections.abc import Iterator
from importlib.util import find_spec

from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.merge import GreedySoupMerge
from tuneforge_specs.spec import Spec

from tuneforge.plan.definition import Plan
from tuneforge.plan.merges import kinds_of
from tuneforge.step import Step

TRAINING = ("torch", "transformers", "trl", "peft", "accelerate")
GENERATING = ("torch", "transformers", "peft")
SCORING = ("torch", "transformers")


def check(plan: Plan, spec: Spec) -> None:
    """Raise EnvironmentMissing where a step that is not cached lacks what it runs on."""
    todo = [planned.step for planned in plan if planned.status != "cached"]
    needed: dict[str, str] = {}
    for step in todo:
        for package in _packages(step, spec):
            needed.setdefault(package, step.id)
    missing = [package for package in needed if not installed(package)]
    if missing:
        first = needed[missing[0]]
        raise EnvironmentMissing(
            f"{first} needs packages that are not installed: {', '.join(missing)}",
            'pip install "tuneforge[train]"',
        )
    asked = [spec.train[step.name].backend for step in todo if step.kind == "train"]
    if "unsloth" in asked:
        from tuneforge.backend import choose
        from tuneforge.device import detect

        choose("unsloth", detect())


def installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return find_spec(package) is not None


def _packages(step: Step, spec: Spec) -> Iterator[str]:
    kind, name = step.kind, step.name
    if kind == "train":
        yield from TRAINING
        eight_bit = spec.train[name].args.optimizer != "adamw"
        if spec.base.quantize == "nf4" or eight_bit:
            yield "bitsandbytes"
    elif kind == "evaluate":
        yield from GENERATING
        if spec.base.quantize == "nf4":
            yield "bitsandbytes"
    elif kind == "merge":
        kinds = kinds_of(step, spec)
        if isinstance(spec.merge[name], GreedySoupMerge) or kinds:
            yield from GENERATING
    elif kind == "dataset" and spec.datasets[name].scored_by:
        yield from SCORING
        if spec.base.quantize == "nf4":
            yield "bitsandbytes"
    elif kind == "base" and not hasattr(spec.base, "model"):
        yield from ("torch", "transformers")
