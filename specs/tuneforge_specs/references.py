"""Names that must exist, be unique and not go in circles, across the tables of a spec."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneforge_specs.export import AdapterExport
from tuneforge_specs.findings import Finding
from tuneforge_specs.gates import metric_name, parse_gate
from tuneforge_specs.keypath import KeyPath
from tuneforge_specs.merge import GreedySoupMerge, MergedInput, TrainInput
from tuneforge_specs.sources import PathSource
from tuneforge_specs.spec import Spec
from tuneforge_specs.suggest import nearest

# The tables of the SQL surface: a dataset's views must not take their names.
RESERVED = frozenset(
    {"records", "ledger", "datasets", "renderings", "runs", "metrics", "artifacts", "sources"}
)
_KINDS = {
    "sources": "source",
    "datasets": "dataset",
    "train": "train step",
    "merge": "merge",
    "evaluate": "evaluation",
}


class Names:
    """The names a spec declares, those of faulty entries included, so that only typos are said."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        def keys(section: str) -> tuple[str, ...]:
            table = data.get(section)
            return tuple(map(str, table)) if isinstance(table, dict) else ()

        self.sources = keys("sources")
        self.datasets = keys("datasets")
        self.train = keys("train")
        self.merge = keys("merge")
        self.evaluate = keys("evaluate")

    @property
    def models(self) -> tuple[str, ...]:
        """Give what an evaluation may measure."""
        return (*self.merge, *self.train, "base")


def check_references(spec: Spec, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Give every name in ``spec`` that is not declared in ``data``, and every clash of names."""
    names = Names(data)
    yield from _clashes(names)
    yield from _sources(spec)
    yield from _datasets(spec, names)
    yield from _train(spec, names)
    yield from _merges(spec, names)
    yield from _evaluations(spec, names)
    yield from _exports(spec, names)


def unknown(section: str, path: KeyPath, name: str, valid: Iterable[str]) -> Iterator[Finding]:
    """Give a finding where ``name`` is not one of ``valid``."""
    choices = list(valid)
    if name not in choices:
        fix = nearest(name, choices) if choices else f"declare [{section}.{name}]"
        yield Finding(path, f"there is no {_KINDS[section]} `{name}`", fix)


def _clashes(names: Names) -> Iterator[Finding]:
    for name in names.merge:
        if name in names.train:
            yield Finding(("merge", name), f"`{name}` is a train step too", "rename one of them")
    for section, declared in (("train", names.train), ("merge", names.merge)):
        if "base" in declared:
            yield Finding((section, "base"), "the name `base` means the base model", "rename it")
    for name in names.datasets:
        if name.lower() in RESERVED:
            fix = "rename the dataset"
            yield Finding(("datasets", name), f"`{name}` is the name of an SQL table", fix)
        for suffix in ("_dropped", "_funnel"):
            if name.endswith(suffix) and name.removesuffix(suffix) in names.datasets:
                other = name.removesuffix(suffix)
                message = f"is the name of an SQL view of the dataset `{other}`"
                yield Finding(("datasets", name), message, "rename the dataset")


def _sources(spec: Spec) -> Iterator[Finding]:
    stdin = [
        name
        for name, source in spec.sources.items()
        if isinstance(source, PathSource) and "-" in _paths(source)
    ]
    for name in stdin[1:]:
        message = f"standard input is read by `{stdin[0]}` already"
        yield Finding(("sources", name, "path"), message, "give one of them a file")


def _datasets(spec: Spec, names: Names) -> Iterator[Finding]:
    for name, dataset in spec.datasets.items():
        path: KeyPath = ("datasets", name)
        mixed = [mix.source for mix in dataset.mix]
        for index, source in enumerate(mixed):
            here = (*path, "from", index, "source")
            yield from unknown("sources", here, source, names.sources)
            if source in mixed[:index]:
                yield Finding(here, f"the source `{source}` is taken twice", "name it once")
        if not dataset.decontaminate:
            continue
        for index, source in enumerate(dataset.decontaminate.against):
            here = (*path, "decontaminate", "against", index)
            yield from unknown("sources", here, source, names.sources)
            if source in mixed:
                message = f"`{source}` is a source of this dataset: all of its rows would go"
                yield Finding(here, message, "name other sources than those in `from`")


def _train(spec: Spec, names: Names) -> Iterator[Finding]:
    scratch = getattr(spec.base, "scratch", None)
    for index, source in enumerate(scratch.corpus if scratch else ()):
        here: KeyPath = ("base", "scratch", "corpus", index)
        yield from unknown("sources", here, source, names.sources)
    for name, step in spec.train.items():
        path: KeyPath = ("train", name)
        yield from unknown("datasets", (*path, "dataset"), step.dataset, names.datasets)
        if step.start:
            here = (*path, "start")
            others = [other for other in names.train if other != name]
            if step.start == name:
                yield Finding(here, f"`{name}` starts from itself", nearest(name, others))
                continue
            yield from unknown("train", here, step.start, others)
            circle = _circle(spec, name)
            if circle:
                fix = "let one of them start from the base: remove its `start`"
                yield Finding(here, f"goes in a circle: {' -> '.join(circle)}", fix)


def _circle(spec: Spec, name: str) -> list[str]:
    """Give the chain of starts from ``name`` back to ``name``, empty where it ends."""
    chain = [name]
    while chain[-1] in spec.train and spec.train[chain[-1]].start:
        chain.append(spec.train[chain[-1]].start)
        if chain[-1] == name:
            return chain
        if chain[-1] in chain[:-1]:
            return []  # a circle further down; it is reported there
    return []


def _merges(spec: Spec, names: Names) -> Iterator[Finding]:
    for name, merge in spec.merge.items():
        for index, item in enumerate(merge.inputs):
            if isinstance(item, TrainInput):
                here = ("merge", name, "inputs", index, "train")
                yield from unknown("train", here, item.train, names.train)
            elif isinstance(item, MergedInput):
                here = ("merge", name, "inputs", index, "merge")
                others = [other for other in names.merge if other != name]
                if item.merge == name:
                    yield Finding(here, f"`{name}` is its own input", nearest(name, others))
                    continue
                yield from unknown("merge", here, item.merge, others)
        if isinstance(merge, GreedySoupMerge):
            yield from _judge(spec, names, name, merge)


def _judge(spec: Spec, names: Names, name: str, merge: GreedySoupMerge) -> Iterator[Finding]:
    yield from unknown("evaluate", ("merge", name, "evaluate"), merge.evaluate, names.evaluate)
    evaluation = spec.evaluate.get(merge.evaluate)
    metrics = [metric_name(metric) for metric in evaluation.metrics] if evaluation else []
    if metrics and merge.metric and merge.metric not in metrics:
        message = f"`{merge.metric}` is not a metric of the evaluation `{merge.evaluate}`"
        yield Finding(("merge", name, "metric"), message, nearest(merge.metric, metrics))


def _evaluations(spec: Spec, names: Names) -> Iterator[Finding]:
    for name, evaluation in spec.evaluate.items():
        path: KeyPath = ("evaluate", name)
        if evaluation.model not in names.models:
            message = f"there is no model `{evaluation.model}`"
            yield Finding((*path, "model"), message, nearest(evaluation.model, names.models))
        yield from unknown("datasets", (*path, "dataset"), evaluation.dataset, names.datasets)
        metrics = [metric_name(metric) for metric in evaluation.metrics]
        for index, text in enumerate(evaluation.gate):
            here = (*path, "gate", index)
            try:
                gate = parse_gate(text)
            except ValueError as error:
                fix = "write `METRIC >= 0.8`, `METRIC > base` or `METRIC >= base + 0.1`"
                yield Finding(here, str(error), fix)
                continue
            if gate.metric not in metrics:
                message = f"`{gate.metric}` is not a metric of this evaluation"
                yield Finding(here, message, nearest(gate.metric, metrics))


def _exports(spec: Spec, names: Names) -> Iterator[Finding]:
    for name, export in spec.export.items():
        path: KeyPath = ("export", name)
        models = (*names.merge, *names.train)
        if export.model not in models:
            message = f"there is no merge or train step `{export.model}`"
            yield Finding((*path, "model"), message, nearest(export.model, models))
        if isinstance(export, AdapterExport):
            yield from _beside(export, path, models)
        after = () if isinstance(export.after, str) else export.after
        for index, evaluation in enumerate(after):
            here = (*path, "after", index)
            yield from unknown("evaluate", here, evaluation, names.evaluate)


def _beside(export: AdapterExport, path: KeyPath, models: tuple[str, ...]) -> Iterator[Finding]:
    for index, name in enumerate(export.beside):
        here: KeyPath = (*path, "beside", index)
        if name not in models:
            message = f"there is no merge or train step `{name}`"
            yield Finding(here, message, nearest(name, models))
        elif name in (export.model, *export.beside[:index]):
            yield Finding(here, f"`{name}` is in this export already", "name each adapter once")


def _paths(source: PathSource) -> tuple[str, ...]:
    return (source.path,) if isinstance(source.path, str) else source.path
