"""Greedy soup (Wortsman et al. 2022, arXiv:2203.05482, recipe 1): which inputs are averaged.

The inputs are tried from the best to the worst by their own scores; one stays in the average where
the average with it scores at least as well as without it. The first always does.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.evaluate import Evaluate, Metric
from tuneforge_specs.gates import metric_name
from tuneforge_specs.merge import GreedySoupMerge

Score = Callable[[tuple[int, ...]], float]


@dataclass(frozen=True)
class Trial:
    """One input tried: its own score, that of the average with it, and whether it stayed in."""

    input: int
    alone: float
    together: float
    accepted: bool


def greedy(count: int, score: Score, *, lower: bool) -> list[Trial]:
    """Decide about ``count`` inputs, ``score`` being that of the average of some of them.

    ``lower``: low scores are good ones. Among equal scores the earlier input comes first; the
    inputs of an average are always in the order of the spec.
    """
    alone = [score((index,)) for index in range(count)]

    def rank(index: int) -> tuple[bool, float]:
        return math.isnan(alone[index]), alone[index] if lower else -alone[index]

    order = sorted(range(count), key=rank)
    kept: tuple[int, ...] = (order[0],)
    best = alone[order[0]]
    trials = [Trial(order[0], best, best, accepted=True)]
    for index in order[1:]:
        candidate = tuple(sorted((*kept, index)))
        together = score(candidate)
        accepted = together <= best if lower else together >= best
        trials.append(Trial(index, alone[index], together, accepted))
        if accepted:
            kept, best = candidate, together
    return trials


def chosen(trials: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the places of the inputs that stayed in, in the order of the spec."""
    return sorted(trial["input"] for trial in trials if trial["accepted"])


def subset(spec: GreedySoupMerge, places: Sequence[int]) -> GreedySoupMerge:
    """Return the merge of some of the inputs."""
    return spec.model_copy(update={"inputs": tuple(spec.inputs[place] for place in places)})


def judging_metric(spec: GreedySoupMerge, evaluation: Evaluate) -> Metric:
    """Return the metric of the evaluation that decides."""
    named = {metric_name(metric): metric for metric in evaluation.metrics}
    return named[spec.metric] if spec.metric else evaluation.metrics[0]


def trial_lines(
    trials: Iterable[Mapping[str, Any]], labels: Sequence[str], metric: str
) -> list[str]:
    """Say of each input, in the order in which they were tried, what it scored and became."""
    lines = []
    for number, trial in enumerate(trials):
        text = f"{labels[trial['input']]}: {metric} {trial['alone']:.6g} alone"
        if number:
            text += f", {trial['together']:.6g} with those before"
        lines.append(f"{text}: {'accepted' if trial['accepted'] else 'refused'}")
    return lines
