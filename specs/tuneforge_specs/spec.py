"""The root of a spec."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.base import Base
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.evaluate import Evaluate
from tuneforge_specs.export import Export
from tuneforge_specs.merge import Merge
from tuneforge_specs.model import Model, Name
from tuneforge_specs.sources import Source
from tuneforge_specs.train import Train


class Build(Model):
    """What is built."""

    name: Name = Field(description="Name of the build, shown in its summary and model card.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        17, description="Seed of every sample, split, shuffle and initial weight."
    )


class Spec(Model):
    """One declared build."""

    spec: Literal[1] = Field(description="Version of the spec's language.")
    build: Build = Field(description="What is built.")
    sources: dict[Name, Source] = Field(
        default_factory=dict, description="Raw data by name: files, hub datasets or queries."
    )
    datasets: dict[Name, Dataset] = Field(
        default_factory=dict, description="Curated datasets by name."
    )
    base: Base = Field(description="The model that everything starts from.")
    train: dict[Name, Train] = Field(default_factory=dict, description="Train steps by name.")
    merge: dict[Name, Merge] = Field(default_factory=dict, description="Merges by name.")
    evaluate: dict[Name, Evaluate] = Field(
        default_factory=dict, description="Evaluations and their gates by name."
    )
    export: dict[Name, Export] = Field(
        default_factory=dict, description="What leaves the build, by name."
    )
