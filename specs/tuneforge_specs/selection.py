"""What a dataset takes of the records that are left; applied in order, after deduplication."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tuneforge_specs.filters import Part
from tuneforge_specs.model import Count, Model, Positive

_BY = "A column of the records or of the data, or a DuckDB expression over the records' columns."
By = Annotated[str, Field(min_length=1, description=_BY)]


class SampleSelection(Model):
    """Keep ``rows`` records, a seeded sample; each record's draw depends on its id alone."""

    kind: Literal["sample"]
    rows: Positive = Field(description="Records that are kept; all, where there are fewer.")


class CapSelection(Model):
    """Keep at most ``max`` records of each value of ``by``; null is a value, too."""

    kind: Literal["cap"]
    by: By
    max: Positive = Field(description="Most records of one value.")
    keep: Literal["sample", "first"] = Field(
        "sample", description="Which are kept: a seeded sample, or the first in order."
    )


class BalanceSelection(Model):
    """Thin out frequent values of ``by``; nothing is repeated to make rare ones more frequent."""

    kind: Literal["balance"]
    by: By
    ratio: Annotated[float, Field(ge=1.0)] = Field(
        1.0, description="No value keeps more than this many times the records of the rarest."
    )
    least: Positive = Field(
        1, description="Values with fewer records do not count as the rarest; they stay whole."
    )


class TakeSelection(Model):
    """Keep the records before a bound, in their order: the first sources first."""

    kind: Literal["take"]
    rows: Count = Field(0, description="Keep this many records; 0 for no such bound.")
    words: Count = Field(
        0, description="Keep records while their words add up to at most this; 0 for no such bound."
    )
    tokens: Count = Field(
        0,
        description="Keep records while the tokens of their texts, by the base's tokenizer, add up "
        "to at most this; 0 for no such bound.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not (self.rows or self.words or self.tokens):
            raise ValueError("needs `rows`, `words` or `tokens` of at least 1")
        return self


class ClusterCapSelection(Model):
    """Keep the first ``max`` records of each cluster of similar ones (linked pair by pair)."""

    kind: Literal["cluster-cap"]
    max: Positive = Field(description="Most records of one cluster.")
    of: Part = Field("whole", description="Part of a record that is compared.")
    threshold: Annotated[float, Field(ge=0.3, le=1.0)] = Field(
        0.5, description="Jaccard similarity at and above which two records are linked."
    )
    ngram: Positive = Field(3, description="Words of a shingle.")
    permutations: Annotated[int, Field(ge=16, le=1024)] = Field(
        128, description="Hashes of a MinHash signature; more find more of the pairs."
    )


Selection = Annotated[
    SampleSelection | CapSelection | BalanceSelection | TakeSelection | ClusterCapSelection,
    Field(discriminator="kind"),
]
