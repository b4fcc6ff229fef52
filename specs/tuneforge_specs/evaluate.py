"""Evaluations of a model on held-out rows, and the gates that stop a build."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.model import Count, Many, Model, Name, Positive


class ExactMatch(Model):
    """Share of rows whose output equals the reference after stripping; ``json`` compares values."""

    kind: Literal["exact-match"]
    json_values: Annotated[bool, Field(alias="json")] = Field(
        False, alias="json", description="Compare parsed JSON values, not texts."
    )
    pattern: str = Field(
        "", description="Regular expression; its last match in each text is what is compared."
    )


class JsonValid(Model):
    """Share of rows whose output parses as JSON and has every key in ``keys``."""

    kind: Literal["json-valid"]
    keys: Many[str] = Field((), description="Keys that the JSON object must have.")


MetricTable = Annotated[ExactMatch | JsonValid, Field(discriminator="kind")]
Metric = Literal["loss", "exact-match", "json-valid"] | MetricTable


class Evaluate(Model):
    """One evaluation. The base is measured beside ``model``, so that gates may compare."""

    model: Name = Field(description="A merge, a train step, or `base`.")
    dataset: Name = Field(description="Dataset whose held-out records are used.")
    metrics: Annotated[Many[Metric], Field(min_length=1)] = Field(
        description="What is measured: names, or tables with options."
    )
    gate: Many[str] = Field((), description="For example `exact-match >= 0.8` or `loss < base`.")
    rows: Count = Field(0, description="Rows of the eval split used; 0: all.")
    max_new_tokens: Positive = Field(128, description="Longest answer in tokens.")
    batch: Positive = Field(16, description="Rows generated at a time.")
