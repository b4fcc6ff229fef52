"""A spec made tiny: the same graph on a few rows, to find errors before a GPU is rented."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import Problem
from tuneforge_specs.loader import LoadedSpec
from tuneforge_specs.spec import Spec

ROWS = 200
STEPS = 2
TOKENS = 256
EVALUATED = 4
NEW_TOKENS = 8
JUDGE = "judge"
SCORED = ("perplexity", "difficulty")


@dataclass(frozen=True)
class SmokeSpec(LoadedSpec):
    """A loaded spec whose values were shrunk; positions are those of the file."""


def shrink(loaded: LoadedSpec) -> SmokeSpec:
    """Cut rows, tokens and steps down; names, methods and their combinations stay.

    The base is made tiny by its own step, which a smoke build tells so. Filters that ask a judge,
    who is paid and far away, are left out; the warnings say which.
    """
    data = loaded.spec.model_dump(mode="json", by_alias=True)
    for source in data["sources"].values():
        source["limit"] = min(source["limit"] or ROWS, ROWS)
    skipped = [_unasked(loaded, key) for key in _judges(data["datasets"])]
    for dataset in data["datasets"].values():
        _shrink_dataset(dataset)
    for train in data["train"].values():
        _shrink_training(train["args"])
    for evaluation in data["evaluate"].values():
        evaluation["rows"] = min(evaluation["rows"] or EVALUATED, EVALUATED)
        evaluation["max_new_tokens"] = min(evaluation["max_new_tokens"], NEW_TOKENS)
    spec = Spec.model_validate(data, by_alias=True, by_name=False)
    return SmokeSpec(spec, loaded.path, (*loaded.warnings, *skipped), loaded.document)


def _judges(datasets: dict[str, Any]) -> Iterator[str]:
    for name, dataset in datasets.items():
        for index, one in enumerate(dataset["filters"]):
            if one["kind"] == JUDGE:
                yield f"datasets.{name}.filters[{index}]"


def _unasked(loaded: LoadedSpec, key: str) -> Problem:
    file, line = loaded.position(key)
    message = "skipped in a smoke build: the judge is not asked"
    return Problem(file, line, key, message, "build without --smoke to have it judge")


def _shrink_dataset(dataset: dict[str, Any]) -> None:
    # Few rows: take them all, leave enough for both sides, and cut instead of dropping.
    for mix in dataset["from"]:
        mix["fraction"] = 1.0
    dataset["mix_temperature"] = 1.0
    dataset["filters"] = [one for one in dataset["filters"] if one["kind"] != JUDGE]
    for one in dataset["filters"]:
        if one["kind"] in SCORED:  # the scores of a random model mean nothing
            one |= {"min": 0.0, "max": 1e308}
    if dataset["split"]["eval"] > 0:
        dataset["split"] = {"eval": max(dataset["split"]["eval"], 0.25), "by": "record"}
    template = dataset["template"]
    template["max_tokens"] = min(template["max_tokens"], TOKENS)
    if template["overflow"] == "drop":
        template["overflow"] = "truncate"


def _shrink_training(arguments: dict[str, Any]) -> None:
    arguments |= {
        "max_steps": STEPS,
        "micro_batch": min(arguments["micro_batch"], 2),
        "accumulate": 1,
        "eval_every": 0,
        "checkpoint_every": 0,
    }
