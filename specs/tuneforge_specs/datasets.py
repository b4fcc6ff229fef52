"""Curated datasets: what is mixed, filtered, deduplicated, decontaminated, split and templated."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.filters import Filter, Part
from tuneforge_specs.model import Fraction, Many, Model, Name, Positive


class Mix(Model):
    """One source of a dataset and the share of its rows that is taken (seeded sample)."""

    source: Name
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class NearDedup(Model):
    """Near-duplicate removal: MinHash LSH candidates, each verified by true Jaccard."""

    threshold: Annotated[float, Field(ge=0.3, le=1.0)] = 0.8
    ngram: Positive = 5
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128
    of: Part = "whole"


class Dedup(Model):
    """Which duplicates are dropped; the first record of each group is kept."""

    exact: bool = True
    near: NearDedup | Literal[False] = False


class Decontaminate(Model):
    """Drop records that share a word n-gram with any record of the sources named in ``against``."""

    against: Annotated[Many[Name], Field(min_length=1)]
    ngram: Positive = 13


class Split(Model):
    """The held-out share, and what may not be divided between the two sides."""

    eval: Fraction = 0.05
    by: Literal["near-duplicate-cluster", "prompt", "record"] = "near-duplicate-cluster"


class Template(Model):
    """How a record becomes tokens, which of them are trained, and what happens to long ones.

    ``chat`` is a shipped template's name, ``tokenizer`` for the tokenizer's own, or the path of a
    ``.jinja`` file.
    """

    chat: str = "chatml"
    train_on: Literal["assistant", "last", "all"] = "assistant"
    max_tokens: Positive = 1024
    overflow: Literal["drop", "truncate", "error"] = "drop"
    system: str = Field("", description="System turn given to records that have none.")


class Dataset(Model):
    """One curated dataset."""

    mix: Annotated[Many[Mix], Field(alias="from", min_length=1)]
    filters: Many[Filter] = ()
    dedup: Dedup = Dedup()
    decontaminate: Decontaminate | Literal[False] = False
    split: Split = Split()
    template: Template = Template()
