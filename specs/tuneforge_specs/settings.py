"""Numbers of a merge that may differ by layer and by tensor: weights, densities, arc positions."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from tuneforge_specs.model import Fraction, Many, Model

Gradient = Annotated[Many[float], Field(min_length=1)]
Shares = Annotated[Many[Fraction], Field(min_length=1)]


class Choice(Model):
    """A number for the tensors whose names hold a text."""

    filter: str = Field(
        "",
        description="Part of a tensor's name, `*` and `?` allowed; left out: every tensor.",
    )
    value: float | Gradient = Field(
        description="A number, or a list that is stretched over the layers."
    )


class ShareChoice(Choice):
    """A share (0 to 1) for the tensors whose names hold a text."""

    value: Fraction | Shares = Field(
        description="A share, or a list that is stretched over the layers."
    )


def _one_kind(items: tuple[float | Choice, ...]) -> tuple[float | Choice, ...]:
    """Refuse lists of both numbers and tables: is a number a layer's value or everybody else's?"""
    if len({isinstance(item, Choice) for item in items}) > 1:
        raise ValueError("numbers and tables do not mix: write { value = ... } for all the others")
    return items


Setting = (
    float | Choice | Annotated[Many[float | Choice], Field(min_length=1), AfterValidator(_one_kind)]
)
Share = (
    Fraction
    | ShareChoice
    | Annotated[Many[Fraction | ShareChoice], Field(min_length=1), AfterValidator(_one_kind)]
)
Varied = float | Choice | tuple[float | Choice, ...]


def values_of(setting: Varied) -> Iterator[float]:
    """Give every number in a setting; what it is anywhere lies between two of them."""
    if isinstance(setting, Choice):
        yield from values_of(setting.value)
    elif isinstance(setting, tuple):
        for item in setting:
            yield from values_of(item)
    else:
        yield setting


def covers_all(setting: Varied) -> bool:
    """Whether a setting says something about every tensor."""
    if isinstance(setting, Choice):
        return setting.filter in {"", "*"}
    if isinstance(setting, tuple) and any(isinstance(item, Choice) for item in setting):
        return any(isinstance(item, Choice) and covers_all(item) for item in setting)
    return True
