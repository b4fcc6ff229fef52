"""What every spec model shares: frozen, strict, unknown keys forbidden."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

T = TypeVar("T")


class Model(BaseModel):
    """A table of the spec."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        validate_default=True,
        allow_inf_nan=False,
        # one validator for the whole spec on first use, instead of one for each table at import
        defer_build=True,
    )


# TOML gives lists; specs hold tuples, so that a resolved spec is hashable.
Many = Annotated[tuple[T, ...], Strict(False)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0.0)]
