"""Curated datasets: what is mixed, filtered, deduplicated, decontaminated, split and templated."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.filters import Filter, Part, Scored
from tuneforge_specs.model import Fraction, Many, Model, Name, Positive
from tuneforge_specs.selection import Selection


class Mix(Model):
    """One source of a dataset and the share of its rows that is taken (seeded sample)."""

    source: Name = Field(description="Name of a source.")
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="Share of its rows that is taken, a seeded sample."
    )


class Clean(Model):
    """What is repaired in a record's texts before anything looks at them, in this order.

    Tool calls, tool definitions and unused columns stay as they are.
    """

    mojibake: bool = Field(
        True, description="Repair text that was decoded with the wrong encoding (ftfy)."
    )
    control: bool = Field(
        True, description="Remove control characters, terminal colours and byte order marks."
    )
    nfc: bool = Field(True, description="Compose characters to Unicode's form NFC.")
    whitespace: bool = Field(
        True,
        description="Unify line ends; remove blanks at line ends, blank lines at both ends of a "
        "text, and blank lines beyond two in a row.",
    )


class NearDedup(Model):
    """Near-duplicate removal: MinHash LSH candidates, each verified by true Jaccard."""

    threshold: Annotated[float, Field(ge=0.3, le=1.0)] = Field(
        0.8, description="Jaccard similarity at and above which a record is a near-duplicate."
    )
    ngram: Positive = Field(5, description="Words of a shingle.")
    permutations: Annotated[int, Field(ge=16, le=1024)] = Field(
        128, description="Hashes of a MinHash signature; more find more of the candidates."
    )
    of: Part = Field("whole", description="Part of a record that is compared.")


class Dedup(Model):
    """Which duplicates are dropped; the first record of each group is kept."""

    exact: bool = Field(True, description="Drop records whose normalised content is equal.")
    near: NearDedup | Literal[False] = Field(
        False, description="Drop near-duplicates too; false keeps them."
    )


class Decontaminate(Model):
    """Drop records that share a word n-gram with any record of the sources named in ``against``."""

    against: Annotated[Many[Name], Field(min_length=1)] = Field(
        description="Names of the sources that hold evaluation data."
    )
    ngram: Positive = Field(13, description="Words in a row that make an overlap.")


class Split(Model):
    """The held-out share, and what may not be divided between the two sides."""

    eval: Fraction = Field(0.05, description="Share of the records held out for evaluation.")
    by: Literal["near-duplicate-cluster", "prompt", "record"] = Field(
        "near-duplicate-cluster", description="What stays together on one side of the split."
    )
    stratify: str = Field(
        "",
        description="A column, or a DuckDB expression, whose values are to have the same share "
        "held out each, as far as what stays together allows; empty for none.",
    )


Overflow = Literal["drop", "truncate", "truncate-left", "truncate-middle", "split", "error"]


class Template(Model):
    """How a record becomes tokens, which of them are trained, and what happens to long ones.

    ``chat`` is a shipped template's name, ``tokenizer`` for the tokenizer's own, or the path of a
    ``.jinja`` file.
    """

    chat: str = Field(
        "chatml", description="A shipped template, `tokenizer`, or the path of a .jinja file."
    )
    train_on: Literal["assistant", "last", "all"] = Field(
        "assistant", description="Which tokens are trained: assistant turns, the last one, or all."
    )
    max_tokens: Positive = Field(1024, description="Longest rendered record in tokens.")
    overflow: Overflow = Field(
        "drop",
        description="What happens to a record that is longer: it is dropped, loses its end, its "
        "beginning or whole turns in its middle, becomes several rows, or ends the build.",
    )
    system: str = Field("", description="System turn given to records that have none.")


class Dataset(Model):
    """One curated dataset."""

    mix: Annotated[Many[Mix], Field(alias="from", min_length=1)] = Field(
        alias="from", description="The sources that are mixed."
    )
    mix_temperature: Annotated[float, Field(ge=1.0)] = Field(
        1.0,
        description="Above 1 large sources are thinned out: a source of n records has a share in "
        "proportion to n ** (1 / temperature), the smallest is taken whole, none is repeated.",
    )
    clean: Clean | Literal[False] = Field(
        False, description="Repair of texts before the filters; false leaves them as they are."
    )
    filters: Many[Filter] = Field((), description="Quality filters, applied in this order.")
    dedup: Dedup = Field(Dedup(), description="Removal of duplicates.")
    decontaminate: Decontaminate | Literal[False] = Field(
        False, description="Removal of records that overlap with evaluation data."
    )
    select: Many[Selection] = Field(
        (), description="What is taken of the records left, applied in this order."
    )
    split: Split = Field(Split(), description="The share held out for evaluation.")
    template: Template = Field(Template(), description="How records become tokens.")

    @property
    def scored_by(self) -> tuple[str, ...]:
        """The filters that put records through the base model, by their kinds."""
        return tuple(one.kind for one in self.filters if isinstance(one, Scored))

    @property
    def needs_base(self) -> bool:
        """Whether curating takes the base model, or its tokenizer."""
        tokens = any(one.kind == "length" and one.unit == "tokens" for one in self.filters)
        taken = any(one.kind == "take" and one.tokens for one in self.select)
        return bool(self.scored_by) or tokens or taken
