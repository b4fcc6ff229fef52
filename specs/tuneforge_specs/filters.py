"""The quality filters a dataset may apply, in order; each names why a record is dropped."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.model import Count, Fraction, Many, Model, Positive

Part = Literal["prompt", "completion", "whole"]


class LengthFilter(Model):
    """Keep records whose ``of`` part measures between ``min`` and ``max`` units, inclusive."""

    kind: Literal["length"]
    of: Part = Field("completion", description="Part of the record that is measured.")
    unit: Literal["characters", "words"] = Field("words", description="What is counted.")
    min: Count = Field(0, description="Least length that is kept.")
    max: Positive = Field(1_000_000_000, description="Greatest length that is kept.")


class EmptyFilter(Model):
    """Drop records with an empty prompt, completion or turn."""

    kind: Literal["empty"]


class RefusalFilter(Model):
    """Drop records whose completion refuses; ``phrases`` adds to the shipped list."""

    kind: Literal["refusal"]
    phrases: Many[str] = Field((), description="More phrases that mark a refusal.")


class TruncatedFilter(Model):
    """Drop records whose completion stops in mid-sentence or with brackets left open."""

    kind: Literal["truncated"]


class EncodingFilter(Model):
    """Drop records with wrongly decoded text (mojibake, replacement or control characters)."""

    kind: Literal["encoding"]


class SymbolsFilter(Model):
    """Drop records in which more than ``max`` of the visible characters are ``what``."""

    kind: Literal["symbols"]
    of: Part = "completion"
    what: Literal["symbols", "digits"] = "symbols"
    max: Fraction = 0.3


class RepetitionFilter(Model):
    """Drop texts that repeat themselves, by the rules of Gopher (Rae et al. 2021, table A1)."""

    kind: Literal["repetition"]
    of: Part = "completion"
    strictness: Annotated[float, Field(gt=0.0, le=4.0)] = Field(
        1.0, description="Divides every limit of the paper; above 1 drops more."
    )


class EchoFilter(Model):
    """Drop records whose completion begins by repeating a prompt of at least ``min`` characters."""

    kind: Literal["echo"]
    min: Positive = 20


class RolesFilter(Model):
    """Drop conversations whose turns do not alternate, or that do not end with an answer."""

    kind: Literal["roles"]


class UrlFilter(Model):
    """Drop records whose ``of`` part is nothing but web addresses."""

    kind: Literal["url-only"]
    of: Part = "completion"


Personal = Literal["email", "phone", "card", "key"]


class PiiFilter(Model):
    """Drop records with personal data: addresses, phone and card numbers, access keys."""

    kind: Literal["pii"]
    of: Part = "whole"
    find: Annotated[Many[Personal], Field(min_length=1)] = ("email", "phone", "card", "key")


class SqlFilter(Model):
    """Keep records for which the DuckDB predicate ``keep`` is true."""

    kind: Literal["sql"]
    name: str = Field(min_length=1, description="The reason shown for a dropped record.")
    keep: str = Field(
        min_length=1, description="A DuckDB predicate over the record's columns, such as `prompt`."
    )


Filter = Annotated[
    LengthFilter
    | EmptyFilter
    | RefusalFilter
    | TruncatedFilter
    | EncodingFilter
    | SymbolsFilter
    | RepetitionFilter
    | EchoFilter
    | RolesFilter
    | UrlFilter
    | PiiFilter
    | SqlFilter,
    Field(discriminator="kind"),
]
