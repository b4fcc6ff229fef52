"""The JSON Schema agrees with the loader and tells editors about every key."""

import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from tuneforge_specs.recipes import recipes
from tuneforge_specs.schema import schema

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def tables() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Spec", SCHEMA
    yield from SCHEMA["$defs"].items()


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "Tuneforge spec"


@pytest.mark.parametrize(("name", "table"), list(tables()), ids=[name for name, _ in tables()])
def test_every_key_and_table_is_described(name: str, table: dict[str, Any]) -> None:
    assert table.get("description"), f"{name} has no docstring"
    for key, field in table.get("properties", {}).items():
        inner = SCHEMA["$defs"].get(field.get("$ref", "").rsplit("/", 1)[-1], {})
        described = field.get("description") or inner.get("description")
        assert described, f"{name}.{key} has no description"
        assert field["title"] == key


@pytest.mark.parametrize("name", recipes())
def test_recipes_are_valid(name: str) -> None:
    VALIDATOR.validate(tomllib.loads(recipes()[name].text))


@pytest.mark.parametrize(
    "text",
    [
        "spec = 2",
        "bild = {}",
        "include = 3",
        '[sources."bad name"]\npath = "x"',
        "[sources.x]\nformat = 'auto'",
        "[datasets.d]\nmix = [{ source = 'x' }]",
        "[datasets.d]\nfrom = []",
        "[base]\nmodel = ''",
        "[train.t]\nmethod = 'sft'\ndataset = 'd'\nloss = { beta = 1.0 }",
        "[train.t]\nmethod = 'sft'\ndataset = 'd'\nargs = { micro_batch = 0 }",
    ],
)
def test_what_it_refuses(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def test_a_part_for_including_is_valid() -> None:
    VALIDATOR.validate(tomllib.loads("[sources.x]\npath = 'x'\n"))
    VALIDATOR.validate(tomllib.loads("include = ['common.toml']\n"))
