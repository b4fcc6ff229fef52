"""Evaluations of a model on held-out rows, and the gates that stop a build."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tuneforge_specs.model import Count, Many, Model, Name, Positive


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class ExactMatch(Model):
    """Share of rows whose output equals the reference after stripping; ``json`` compares values."""

    kind: Literal["exact-match"]
    json_values: Annotated[bool, Field(alias="json")] = Field(
        False, alias="json", description="Compare parsed JSON values, not texts."
    )
    pattern: Annotated[str, AfterValidator(_compiles)] = Field(
        "", description="Regular expression; its last match in each text is what is compared."
    )


class JsonValid(Model):
    """Share of rows whose output parses as JSON and has every key in ``keys``."""

    kind: Literal["json-valid"]
    keys: Many[str] = Field((), description="Keys that the JSON object must have.")


MetricTable = Annotated[ExactMatch | JsonValid, Field(discriminator="kind")]
TextMetric = Literal["exact-match", "json-valid"] | MetricTable
Metric = Literal["loss"] | TextMetric


def metric_table(metric: TextMetric) -> MetricTable:
    """Give the table that a metric named without settings stands for."""
    match metric:
        case "exact-match":
            return ExactMatch(kind=metric)
        case "json-valid":
            return JsonValid(kind=metric)
        case _:
            return metric


def _told_apart(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    names = [metric if isinstance(metric, str) else metric.kind for metric in metrics]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{', '.join(repeated)} is measured twice; gates and reports go by these names, so "
            "make two evaluations"
        )
    return metrics


class Evaluate(Model):
    """One evaluation. The base is measured beside ``model``, so that gates may compare."""

    model: Name = Field(description="A merge, a train step, or `base`.")
    dataset: Name = Field(description="Dataset whose held-out records are used.")
    metrics: Annotated[Many[Metric], Field(min_length=1), AfterValidator(_told_apart)] = Field(
        description="What is measured: names, or tables with options."
    )
    gate: Many[str] = Field((), description="For example `exact-match >= 0.8` or `loss < base`.")
    rows: Count = Field(0, description="Rows of the eval split used; 0: all.")
    max_new_tokens: Positive = Field(128, description="Longest answer in tokens.")
    batch: Positive = Field(16, description="Rows generated at a time.")
