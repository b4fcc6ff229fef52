"""Say in plain words, and all at once, what a spec's data gets wrong.

pydantic decides whether a spec is valid. Where it is not, this walks the data beside the models'
annotations: a union is narrowed to the member that the user meant before anything is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tuneforge_specs import shapes
from tuneforge_specs.keypath import KeyPath, path_text
from tuneforge_specs.leaves import explain_leaf, spoken_message
from tuneforge_specs.model import Model
from tuneforge_specs.shapes import Shape, describe, fields_of, spoken
from tuneforge_specs.suggest import close_to, listing, nearest


@dataclass(frozen=True)
class Wrong:
    """One thing wrong at ``path``; ``absent``: the key is missing; ``meant``: its right name."""

    path: KeyPath
    message: str
    fix: str = ""
    absent: bool = False
    meant: str = ""


def explain(model: type[Model], data: dict[str, Any]) -> list[Wrong]:
    """Give everything wrong with ``data`` as a ``model``."""
    return list(_table(Shape(model), data, ()))


def _value(shape: Shape, value: Any, path: KeyPath) -> Iterator[Wrong]:
    if shape.discriminator is not None:
        yield from _tagged(shape, value, path)
    elif shape.members:
        yield from _union(shape, value, path)
    elif shape.model is not None:
        yield from _table(shape, value, path)
    elif shape.mapping is not None:
        yield from _named(shape, value, path)
    elif shape.element is not None:
        yield from _list(shape, value, path)
    else:
        found = explain_leaf(shape, value)
        if found is not None:
            yield Wrong(path, *found)


def _table(
    shape: Shape, value: Any, path: KeyPath, siblings: tuple[Shape, ...] = ()
) -> Iterator[Wrong]:
    model = shape.model
    assert model is not None
    if not isinstance(value, dict):
        yield Wrong(path, f"must be a table ({{...}}), not {spoken(value)}")
        return
    fields = fields_of(model)
    wrong = [
        *(
            _unknown(model, key, (*path, key), value, siblings)
            for key in value
            if key not in fields
        ),
        *(
            found
            for key, field in fields.items()
            if key in value
            for found in _value(field, value[key], (*path, key))
        ),
    ]
    misspelt = {found.meant for found in wrong}
    wrong += [
        _missing(model, key, (*path, key), siblings)
        for key in fields
        if key not in value and key not in misspelt and shapes.info_of(model, key).is_required()
    ]
    yield from wrong
    if not wrong:
        yield from _whole(model, value, path)


def _whole(model: type[Model], value: dict[str, Any], path: KeyPath) -> Iterator[Wrong]:
    """Give what a model's own validators say once each of its keys is right."""
    try:
        model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            yield Wrong(path, spoken_message(item["msg"]))


def _named(shape: Shape, value: Any, path: KeyPath) -> Iterator[Wrong]:
    assert shape.mapping is not None
    if not isinstance(value, dict):
        name = str(path[-1]) if path else ""
        yield Wrong(path, "must hold named tables", f"write [{name}.some-name]")
        return
    key_shape, value_shape = shape.mapping
    for key, inner in value.items():
        found = explain_leaf(key_shape, key)
        if found is not None:
            yield Wrong((*path, key), f"the name {found[0]}", found[1])
        yield from _value(value_shape, inner, (*path, key))


def _list(shape: Shape, value: Any, path: KeyPath) -> Iterator[Wrong]:
    element = shape.element
    assert element is not None
    if not isinstance(value, list):
        fix = "put it in brackets: [...]" if not isinstance(value, dict) else "write [{...}]"
        yield Wrong(path, f"must be {describe(shape)}, not {spoken(value)}", fix)
        return
    wrong = [
        found
        for index, inner in enumerate(value)
        for found in _value(element, inner, (*path, index))
    ]
    yield from wrong
    if not wrong:
        found = explain_leaf(shape, value)
        if found is not None:
            yield Wrong(path, *found)


def _tagged(shape: Shape, value: Any, path: KeyPath) -> Iterator[Wrong]:
    members = shape.tagged
    if not isinstance(value, dict):
        yield Wrong(path, f"must be a table ({{...}}), not {spoken(value)}", _example(shape))
        return
    others = tuple(members.values())
    if not isinstance(shape.discriminator, str):
        assert shape.discriminator is not None
        assert callable(shape.discriminator.discriminator)
        chosen = str(shape.discriminator.discriminator(value))
        yield from _table(members[chosen], value, path, others)
        return
    key = shape.discriminator
    if key not in value:
        fix = f"add `{key}`: {listing(members)}"
        misspelt = close_to(key, value)
        if misspelt is not None:
            fix = f"rename `{misspelt}` to `{key}`"
        yield Wrong((*path, key), "is required", fix, absent=True)
        return
    tag = value[key]
    if not isinstance(tag, str) or tag not in members:
        yield Wrong(
            (*path, key),
            f"must be {listing(members)}, not {spoken(tag)}",
            nearest(str(tag), members),
        )
        return
    yield from _table(members[tag], value, path, others)


def _union(shape: Shape, value: Any, path: KeyPath) -> Iterator[Wrong]:
    fitting = [member for member in shape.members if _same_sort(member, value)]
    if not fitting:
        yield Wrong(path, f"must be {describe(shape)}, not {spoken(value)}")
        return
    found: list[Wrong] = []
    for member in fitting:
        found = list(_value(member, value, path))
        if not found:
            return
    yield from found


def _same_sort(shape: Shape, value: Any) -> bool:
    if shape.discriminator is not None or shape.model is not None or shape.mapping is not None:
        return isinstance(value, dict)
    if shape.element is not None:
        return isinstance(value, list)
    choices = shapes.literals(shape)
    if choices:
        return any(type(choice) is type(value) for choice in choices) and (
            not isinstance(value, bool) or value in choices
        )
    if shape.annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is shape.annotation


def _unknown(
    model: type[Model], key: str, path: KeyPath, table: dict[str, Any], siblings: tuple[Shape, ...]
) -> Wrong:
    fields = fields_of(model)
    message = f"is not a key of {_name_of(path[:-1])}"
    for sibling in siblings:
        other = sibling.tag
        if other and other == key:
            here = next(s.tag for s in siblings if s.model is model)
            return Wrong(path, f"cannot stand beside `{here}`", f"keep `{key}` or `{here}`")
    best = close_to(key, [name for name in fields if name not in table])
    if best is not None:
        return Wrong(path, message, f"did you mean `{best}`?", meant=best)
    deeper = _deeper(model, key)
    if deeper:
        return Wrong(path, message, f"it belongs in `{deeper}`: `{deeper}.{key}`")
    owners = [_tag_text(s) for s in siblings if s.model is not None and key in fields_of(s.model)]
    if owners:
        return Wrong(path, message, f"it belongs to {listing(owners)}")
    return Wrong(path, message, nearest(key, fields))


def _deeper(model: type[Model], key: str) -> str:
    """Name the table below that has ``key``."""
    for name, field in fields_of(model).items():
        for member in (field, *field.members):
            if member.model is not None and key in fields_of(member.model):
                return name
    return ""


def _missing(model: type[Model], key: str, path: KeyPath, siblings: tuple[Shape, ...]) -> Wrong:
    tags = [sibling.tag for sibling in siblings if sibling.tag]
    if key in tags:
        return Wrong(path[:-1], f"needs {listing(tags)}", f"add one of them, `{key} = ...`")
    info = shapes.info_of(model, key)
    says = f" ({info.description.rstrip('.')})" if info.description else ""
    return Wrong(path, "is required", f"add `{key} = ...`{says}", absent=True)


def _tag_text(shape: Shape) -> str:
    assert shape.model is not None
    if shape.tag:
        return shape.tag
    first = next(iter(fields_of(shape.model).items()))
    for key, field in fields_of(shape.model).items():
        if len(shapes.literals(field)) == 1:
            return f"{key} = {shapes.literals(field)[0]}"
    return first[0]


def _example(shape: Shape) -> str:
    if isinstance(shape.discriminator, str):
        tag = next(iter(shape.tagged))
        return f'write {{ {shape.discriminator} = "{tag}" }}'
    return f"write {{ {next(iter(shape.tagged))} = ... }}"


def _name_of(path: KeyPath) -> str:
    return f"`{path_text(path)}`" if path else "a spec"
