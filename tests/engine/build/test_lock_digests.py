"""The lock file holds the digests of what every machine makes alike, and of nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tuneforge.build.lockfile import describe
from tuneforge.plan.definition import PlannedStep
from tuneforge.step import Artifact, Step


def planned(step: str, inputs: tuple[str, ...] = (), **params: Any) -> PlannedStep:
    kind, _, name = step.partition(".")
    keys = {f"datasets.{name}.{key.replace('__', '.')}": value for key, value in params.items()}
    return PlannedStep(Step(step, kind, name or kind, keys, {of: of for of in inputs}), "run", 1)


def with_digest(base: dict[str, Any], *steps: PlannedStep) -> set[str]:
    artifacts = {
        one.step.id: Artifact(one.step.id, "k", "d" * 64, Path(), {"params": base}) for one in steps
    }
    return {
        step for step, entry in describe(steps, artifacts)["steps"].items() if "digest" in entry
    }


def test_what_follows_a_models_verdict_has_none() -> None:
    judged = {"filters[0].kind": "length", "filters[1].kind": "judge"}
    steps = (
        planned("source.s"),
        planned("base"),
        planned("dataset.plain", ("source.s",), **{"filters[0].kind": "length"}),
        planned("render.plain", ("dataset.plain", "base")),
        planned("dataset.judged", ("source.s",), **judged),
        planned("render.judged", ("dataset.judged", "base")),
    )
    assert with_digest({"base.model": "org/name"}, *steps) == {
        "source.s",
        "dataset.plain",
        "render.plain",
    }


@pytest.mark.parametrize("kind", ["perplexity", "difficulty"])
def test_scores_differ_between_machines_and_counts_of_tokens_do_not(kind: str) -> None:
    steps = (
        planned("base"),
        planned("dataset.scored", ("base",), **{"filters[0].kind": kind}),
        planned("dataset.counted", ("base",), **{"filters[0].kind": "length"}),
    )
    assert with_digest({"base.model": "org/name"}, *steps) == {"dataset.counted"}
    # A base made here is another one elsewhere, and so is its tokenizer.
    assert with_digest({"base.scratch.hidden": 32}, *steps) == set()
