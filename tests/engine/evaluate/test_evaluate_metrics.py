"""Metrics of generated text: what counts as equal, what counts as JSON."""

import importlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tuneforge_specs.errors import DataError
from tuneforge_specs.evaluate import Evaluate, ExactMatch, JsonValid, MetricTable

from tuneforge.evaluate.metrics import METRICS, scorer


def exact(output: str, reference: str, **settings: object) -> float:
    return scorer(ExactMatch.model_validate({"kind": "exact-match", **settings}))(output, reference)


def valid(output: str, keys: tuple[str, ...] = ()) -> float:
    return scorer(JsonValid(kind="json-valid", keys=keys))(output, "")


def test_registry_and_union_name_the_same_kinds_and_every_target_loads() -> None:
    union, *_ = get_args(MetricTable)
    kinds = {model.model_fields["kind"].annotation.__args__[0] for model in get_args(union)}
    assert kinds == set(METRICS)
    for target in METRICS.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_exact_match_strips_and_keeps_case() -> None:
    assert exact(" yes\n", "yes") == 1
    assert exact("Yes", "yes") == 0


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ('{"b": [1, null], "a": "é"}', 1),
        ('{"a":"\\u00e9","b":[1,null]}', 1),
        ('{"a": "é", "b": [1, null], "c": 0}', 0),
        ('{"a": "é", "b": [true, null]}', 0),
        ('{"a": "é", "b": [1, null]} Hope this helps!', 0),
        ('{"a": "x", "a": "é", "b": [1, null]}', 0),
        ("", 0),
    ],
)
def test_json_values_are_compared_not_texts(output: str, score: int) -> None:
    assert exact(output, '{"a": "é", "b": [1, null]}', json=True) == score


def test_pattern_compares_its_last_match() -> None:
    pattern = r"#### (-?[\d,.]+)"
    assert exact("so #### 3, no: #### 72", "because\n#### 72", pattern=pattern) == 1
    assert exact("72", "#### 72", pattern=pattern) == 0
    assert exact("x 7 y", "7", pattern=r"\d") == 1


def test_a_reference_that_nothing_can_equal_is_an_error() -> None:
    with pytest.raises(DataError, match="has no match"):
        exact("1", "no number", pattern=r"\d")
    with pytest.raises(DataError, match="is no JSON"):
        exact("{}", "not json", json=True)


def test_json_valid_is_strict_and_asks_for_keys() -> None:
    assert valid('{"a": 1}') == 1
    assert valid('[{"a": 1}]') == 1
    assert valid('{"a": NaN}') == 0
    assert valid('Sure: {"a": 1}') == 0
    assert valid('{"a": 1}', ("a", "b")) == 0
    assert valid('{"a": 1, "b": null, "c": 2}', ("a", "b")) == 1
    assert valid("[1]", ("a",)) == 0
    assert valid("[" * 100_000) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_json_equality_is_pythons_without_its_mixing_of_kinds(left: object, right: object) -> None:
    import json

    same = repr_of(left) == repr_of(right)
    assert exact(json.dumps(left), json.dumps(right, indent=1), json=True) == same


def repr_of(value: object) -> object:
    """Tag every value with its type, as True == 1 in Python."""
    if isinstance(value, dict):
        return ("dict", {key: repr_of(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return ("list", [repr_of(inner) for inner in value])
    return (type(value), value)


def spec(**changed: object) -> Evaluate:
    table = {"model": "m", "dataset": "d", "metrics": ["loss"], **changed}
    return TypeAdapter(Evaluate).validate_python(table)


def test_a_pattern_that_does_not_compile_is_a_spec_error() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        spec(metrics=[{"kind": "exact-match", "pattern": "("}])


def test_one_metric_is_named_once() -> None:
    with pytest.raises(ValidationError, match="measured twice"):
        spec(metrics=["exact-match", {"kind": "exact-match", "json": True}])
