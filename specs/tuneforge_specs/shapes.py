"""What the spec's type annotations allow, in a form that messages can be written from."""

import types
from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Discriminator, Tag
from pydantic.fields import FieldInfo

from tuneforge_specs.model import Model
from tuneforge_specs.suggest import listing

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Shape:
    """One annotation taken apart: the bare type, its constraints, and how a union is decided."""

    annotation: Any
    metadata: tuple[Any, ...] = field(default=(), repr=False)
    discriminator: str | Discriminator | None = None

    @property
    def tag(self) -> str:
        """Give the tag of a member of a union decided by a function."""
        return next((item.tag for item in self.metadata if isinstance(item, Tag)), "")

    @property
    def model(self) -> type[Model] | None:
        """Give the model class of a table."""
        is_model = isinstance(self.annotation, type) and issubclass(self.annotation, Model)
        return self.annotation if is_model else None

    @property
    def members(self) -> tuple["Shape", ...]:
        """Give the members of a union; empty for anything else."""
        if get_origin(self.annotation) in (Union, types.UnionType):
            return tuple(shape_of(member) for member in get_args(self.annotation))
        return ()

    @property
    def tagged(self) -> dict[str, "Shape"]:
        """Give a tagged union's members by tag."""
        if isinstance(self.discriminator, str):
            return {
                choice: member
                for member in self.members
                for choice in literals(fields_of(member.annotation)[self.discriminator])
            }
        return {member.tag: member for member in self.members if member.tag}

    @property
    def mapping(self) -> tuple["Shape", "Shape"] | None:
        """Give the key's and the value's shape of a table of named entries."""
        if get_origin(self.annotation) is not dict:
            return None
        key, value = get_args(self.annotation)
        return shape_of(key), shape_of(value)

    @property
    def element(self) -> "Shape | None":
        """Give the shape of a list's elements."""
        if get_origin(self.annotation) is not tuple:
            return None
        return shape_of(get_args(self.annotation)[0])


def shape_of(annotation: Any) -> Shape:
    """Take an annotation apart."""
    metadata: list[Any] = []
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
    return _shape(annotation, metadata)


def _shape(annotation: Any, metadata: list[Any]) -> Shape:
    plain: list[Any] = []
    discriminator: str | Discriminator | None = None
    for item in metadata:
        if isinstance(item, FieldInfo):
            discriminator = item.discriminator or discriminator
            plain += item.metadata
        elif isinstance(item, Discriminator):
            discriminator = item
        else:
            plain.append(item)
    return Shape(annotation, tuple(plain), discriminator)


def fields_of(model: type[Model]) -> dict[str, Shape]:
    """Give a table's keys, as TOML writes them, and their shapes."""
    return {
        info.alias or name: _shape(info.annotation, [*info.metadata, info])
        for name, info in model.model_fields.items()
    }


def info_of(model: type[Model], key: str) -> FieldInfo:
    """Give the declaration of a table's ``key``, as TOML writes it."""
    fields = model.model_fields.items()
    return next(info for name, info in fields if (info.alias or name) == key)


def literals(shape: Shape) -> tuple[Any, ...]:
    """Give the values a ``Literal`` allows; empty for anything else."""
    return get_args(shape.annotation) if get_origin(shape.annotation) is Literal else ()


def describe(shape: Shape) -> str:
    """Say in plain words what a value of this shape is."""
    choices = literals(shape)
    if choices:
        words = [str(c).lower() if isinstance(c, bool) else str(c) for c in choices]
        return words[0] if len(words) == 1 and words[0] == "false" else listing(words)
    if shape.element is not None:
        return f"a list ([...]) of {describe(shape.element)}"
    if shape.model is not None or shape.mapping is not None or shape.tagged:
        return "a table ({...})"
    if shape.members:
        words = [describe(member) for member in shape.members]
        return ", ".join(words[:-1]) + f" or {words[-1]}"
    return _WORDS.get(shape.annotation, "a value")


def spoken(value: Any) -> str:
    """Say what a TOML value is, short enough for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 40 else f'the text "{value[:37]}..."'
    if isinstance(value, int | float):
        short = abs(value) < 10**18 or not isfinite(value)
        return str(value) if short else "a very large number"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return "a date or time"
