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

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 17


class Spec(Model):
    """One declared build."""

    spec: Literal[1]
    build: Build
    sources: dict[Name, Source] = Field(default_factory=dict)
    datasets: dict[Name, Dataset] = Field(default_factory=dict)
    base: Base
    train: dict[Name, Train] = Field(default_factory=dict)
    merge: dict[Name, Merge] = Field(default_factory=dict)
    evaluate: dict[Name, Evaluate] = Field(default_factory=dict)
    export: dict[Name, Export] = Field(default_factory=dict)
