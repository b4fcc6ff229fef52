"""The build graph: one function per kind of step, spec in, steps in build order out."""

from collections.abc import Iterator, Mapping
from typing import Any

from tuneforge_specs.base import ScratchBase
from tuneforge_specs.datasets import Decontaminate
from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import AdapterExport, Export
from tuneforge_specs.filters import Scored
from tuneforge_specs.merge import GreedySoupMerge, MergedInput, TrainInput
from tuneforge_specs.spec import Spec

from tuneforge.plan.externals import NOTHING, External
from tuneforge.plan.params import table
from tuneforge.step import Json, Step

# What changes how often a run is saved, not what it computes: resuming is exact.
TRAIN_IRRELEVANT = ("dataset", "start", "args.checkpoint_every", "args.keep_checkpoints")
# What an evaluation says besides how one model's score comes about.
JUDGE_IRRELEVANT = ("model", "dataset", "gate")
SMOKE = "base.smoke"


class Graph:
    """The steps of one spec by id."""

    def __init__(
        self,
        spec: Spec,
        resolved: Mapping[str, Any],
        externals: Mapping[str, External],
        *,
        smoke: bool = False,
    ) -> None:
        self._spec = spec
        self._resolved = resolved
        self._externals = externals
        self._smoke = smoke

    def steps(self) -> tuple[Step, ...]:
        """List the steps so that each comes after its inputs; raise UsageError for a circle."""
        return topological({step.id: step for step in self._all()})

    def _all(self) -> Iterator[Step]:
        spec = self._spec
        yield from (self._source(name) for name in spec.sources)
        yield from (self._dataset(name) for name in spec.datasets)
        yield self._base()
        rendered = {train.dataset for train in spec.train.values()}
        rendered |= {evaluation.dataset for evaluation in spec.evaluate.values()}
        yield from (self._render(name) for name in spec.datasets if name in rendered)
        yield from (self._train(name) for name in spec.train)
        yield from (self._merge(name) for name in spec.merge)
        yield from (self._evaluate(name) for name in spec.evaluate)
        yield from (self._export(name) for name in spec.export)

    def _step(
        self, kind: str, name: str, params: Mapping[str, Json], inputs: Mapping[str, str]
    ) -> Step:
        identity = kind if name == kind else f"{kind}.{name}"
        external = self._externals.get(identity, NOTHING)
        pinned = {f"{key}@commit": commit for key, commit in external.commits.items()}
        return Step(identity, kind, name, {**params, **pinned}, inputs, external.files)

    @property
    def _seed(self) -> dict[str, Json]:
        return {"build.seed": self._spec.build.seed}

    @property
    def _precision(self) -> dict[str, Json]:
        base = self._resolved["base"]
        return {"base.quantize": base["quantize"], "base.dtype": base["dtype"]}

    def _source(self, name: str) -> Step:
        # The licence goes into the card only; the files stand for the path.
        params = table(self._resolved, ("sources", name), ("path", "license"))
        return self._step("source", name, params, {})

    def _dataset(self, name: str) -> Step:
        dataset = self._spec.datasets[name]
        inputs = {f"source.{mix.source}": f"source.{mix.source}" for mix in dataset.mix}
        if isinstance(dataset.decontaminate, Decontaminate):
            inputs |= {f"against.{of}": f"source.{of}" for of in dataset.decontaminate.against}
        if dataset.needs_base:
            inputs["base"] = "base"
        scored = [n for n, one in enumerate(dataset.filters) if isinstance(one, Scored)]
        # How many go through the base at once changes no score.
        without = ("template", *(f"filters[{n}].micro_batch" for n in scored))
        params = table(self._resolved, ("datasets", name), without) | self._seed
        return self._step("dataset", name, params | (self._precision if scored else {}), inputs)

    def _base(self) -> Step:
        base = self._spec.base
        params = table(self._resolved, ("base",), ("quantize", "dtype"))
        inputs: dict[str, str] = {}
        if isinstance(base, ScratchBase):
            inputs = {f"source.{name}": f"source.{name}" for name in base.scratch.corpus}
            params |= self._seed
        if self._smoke:
            params[SMOKE] = True
        return self._step("base", "base", params, inputs)

    def _render(self, name: str) -> Step:
        params = table(self._resolved, ("datasets", name, "template"))
        inputs = {"dataset": f"dataset.{name}", "base": "base"}
        return self._step("render", name, params, inputs)

    def _train(self, name: str) -> Step:
        train = self._spec.train[name]
        inputs = {"render": f"render.{train.dataset}", "base": "base"}
        if train.start:
            inputs["start"] = f"train.{train.start}"
        params = table(self._resolved, ("train", name), TRAIN_IRRELEVANT)
        return self._step("train", name, params | self._precision | self._seed, inputs)

    def _merge(self, name: str) -> Step:
        inputs = {"base": "base"}
        merge = self._spec.merge[name]
        for entry in merge.inputs:
            if isinstance(entry, TrainInput):
                inputs[f"train.{entry.train}"] = f"train.{entry.train}"
            elif isinstance(entry, MergedInput):
                inputs[f"merge.{entry.merge}"] = f"merge.{entry.merge}"
        params = table(self._resolved, ("merge", name))
        if isinstance(merge, GreedySoupMerge):
            dataset = self._spec.evaluate[merge.evaluate].dataset
            inputs |= {"dataset": f"dataset.{dataset}", "render": f"render.{dataset}"}
            params |= table(self._resolved, ("evaluate", merge.evaluate), JUDGE_IRRELEVANT)
        return self._step("merge", name, params | self._precision | self._seed, inputs)

    def _evaluate(self, name: str) -> Step:
        evaluation = self._spec.evaluate[name]
        inputs = {
            "model": self._model(evaluation.model),
            "base": "base",
            "dataset": f"dataset.{evaluation.dataset}",
            "render": f"render.{evaluation.dataset}",
        }
        params = table(self._resolved, ("evaluate", name), JUDGE_IRRELEVANT)
        return self._step("evaluate", name, params | self._precision | self._seed, inputs)

    def _export(self, name: str) -> Step:
        export = self._spec.export[name]
        inputs = {"model": self._model(export.model), "base": "base"}
        inputs |= {f"beside.{other}": self._model(other) for other in beside(export)}
        gates: dict[str, Json] = {}  # the card quotes them
        for evaluation in self._after(name):
            inputs[f"after.{evaluation}"] = f"evaluate.{evaluation}"
            gates[f"evaluate.{evaluation}.gate"] = list(self._spec.evaluate[evaluation].gate)
        params = table(self._resolved, ("export", name), ("model", "after"))
        params["build.name"] = self._spec.build.name
        for source, table_ in sorted(self._resolved.get("sources", {}).items()):
            params[f"sources.{source}.license"] = table_["license"]
        return self._step("export", name, params | gates | self._precision, inputs)

    def _after(self, export: str) -> tuple[str, ...]:
        table_ = self._spec.export[export]
        if table_.after != "auto":
            return table_.after
        evaluations = self._spec.evaluate.items()
        shipped = (table_.model, *beside(table_))
        return tuple(name for name, entry in evaluations if entry.model in shipped)

    def _model(self, name: str) -> str:
        if name in self._spec.merge:
            return f"merge.{name}"
        return f"train.{name}" if name in self._spec.train else name


def topological(steps: Mapping[str, Step]) -> tuple[Step, ...]:
    """Order steps by their inputs, else as given; raise UsageError where they go in a circle."""
    ordered: dict[str, Step] = {}
    visiting: list[str] = []

    def visit(identity: str) -> None:
        if identity in ordered:
            return
        if identity in visiting:
            circle = " -> ".join([*visiting[visiting.index(identity) :], identity])
            raise UsageError(f"steps depend on each other in a circle: {circle}", "break it")
        visiting.append(identity)
        for needed in steps[identity].inputs.values():
            visit(needed)
        visiting.pop()
        ordered[identity] = steps[identity]

    for identity in steps:
        visit(identity)
    return tuple(ordered.values())


def beside(export: Export) -> tuple[str, ...]:
    """Give the steps whose adapters an export ships with that of its model."""
    return export.beside if isinstance(export, AdapterExport) else ()


def closure(steps: tuple[Step, ...], targets: frozenset[str]) -> tuple[Step, ...]:
    """Keep the steps that the targets need, in order."""
    needed = set(targets)
    for step in reversed(steps):
        if step.id in needed:
            needed |= set(step.inputs.values())
    return tuple(step for step in steps if step.id in needed)
