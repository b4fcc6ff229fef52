"""TOML's inf and nan are numbers that no key takes."""

import importlib
import math
import pkgutil
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tuneforge_specs
from pydantic import ValidationError
from tuneforge_specs.errors import Problem
from tuneforge_specs.model import Model

VALUES = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def models(parent: type[Model]) -> Iterator[type[Model]]:
    for child in parent.__subclasses__():
        yield child
        yield from models(child)


def takes_numbers(annotation: Any) -> bool:
    if annotation in (int, float):
        return True
    return any(takes_numbers(part) for part in typing.get_args(annotation))


def number_keys() -> list[tuple[type[Model], str]]:
    for module in pkgutil.iter_modules(tuneforge_specs.__path__):
        importlib.import_module(f"tuneforge_specs.{module.name}")
    return [
        (model, field.alias or name)
        for model in dict.fromkeys(models(Model))
        for name, field in model.model_fields.items()
        if takes_numbers(field.annotation)
    ]


@pytest.mark.parametrize("text", VALUES)
def test_no_number_key_of_any_table_takes_it(text: str) -> None:
    found = number_keys()
    assert len(found) > 50
    for model, key in found:
        for value in (VALUES[text], [VALUES[text]], {"a": VALUES[text]}):
            with pytest.raises(ValidationError) as caught:
                model.model_validate({key: value})
            assert any(e["loc"][:1] == (key,) for e in caught.value.errors()), (model, key)


@pytest.mark.parametrize("text", VALUES)
def test_the_loader_names_the_key_and_the_line(
    problems: Callable[..., list[Problem]], small: str, text: str
) -> None:
    spec = small.replace(
        "[base]",
        f'filters = [{{ kind = "length", min = {text} }}]\nsplit = {{ eval = {text} }}\n[base]',
    )
    spec += f"args = {{ learning_rate = {text}, max_steps = {text} }}\n"
    spec += f'[merge.m]\nmethod = "lora"\ninputs = [{{ train = "task", weight = {text} }}]\n'
    found = {problem.key: problem for problem in problems(spec)}
    assert {key: (one.line, one.message) for key, one in found.items()} == {
        "datasets.instruct.filters[0].min": (10, f"must be a whole number, not {text}"),
        "datasets.instruct.split.eval": (11, "must be a finite number"),
        "train.task.args.learning_rate": (17, "must be a finite number"),
        "train.task.args.max_steps": (17, f"must be a whole number, not {text}"),
        "merge.m.inputs[0].weight": (20, "must be a finite number"),
    }


@pytest.mark.parametrize("text", VALUES)
def test_neither_does_the_command_line(
    problems: Callable[..., list[Problem]], small: str, text: str
) -> None:
    (found,) = problems(small, f"train.task.args.learning_rate={text}")
    assert found.key == "train.task.args.learning_rate"
    assert "finite" in found.message
