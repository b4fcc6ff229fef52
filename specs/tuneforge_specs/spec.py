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
    sources: dict[Name, Source] = {}
    datasets: dict[Name, Dataset] = {}
    base: Base
    train: dict[Name, Train] = {}
    merge: dict[Name, Merge] = {}
    evaluate: dict[Name, Evaluate] = {}
    export: dict[Name, Export] = {}
