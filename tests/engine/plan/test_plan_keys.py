"""Keys: what changes them, and what never does."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_specs.errors import UsageError

from tuneforge.digest import canonical, value_digest
from tuneforge.plan.graph import topological
from tuneforge.plan.keys import step_key
from tuneforge.plan.params import flatten, table
from tuneforge.step import Step

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4)
)
PARAMS = st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=6)


def shuffled(value: object, seed: int) -> object:
    if isinstance(value, dict):
        items = list(value.items())
        random.Random(seed).shuffle(items)
        return {key: shuffled(inner, seed) for key, inner in items}
    if isinstance(value, list):
        return [shuffled(inner, seed) for inner in value]
    return value


def step(params: object, files: tuple[str, ...] = ()) -> Step:
    return Step("train.a", "train", "a", params, {}, {name: Path(name) for name in files})


@given(PARAMS, st.integers())
@settings(max_examples=150, deadline=None)
def test_the_order_of_keys_never_changes_a_key(params: dict, seed: int) -> None:
    other = shuffled(params, seed)
    assert canonical(params) == canonical(other)
    assert step_key(step(params), 1, {}, {}) == step_key(step(other), 1, {}, {})


@given(PARAMS, st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_value_changes_the_key(params: dict, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(params)))
    value = data.draw(VALUES.filter(lambda v: canonical(v) != canonical(params[key])))
    assert step_key(step(params), 1, {}, {}) != step_key(step(params | {key: value}), 1, {}, {})


def test_inputs_files_version_and_kind_are_in_the_key() -> None:
    base = step_key(step({}), 1, {"a": "x"}, {"f": "1", "g": "2"})
    assert base == step_key(step({}), 1, {"a": "x"}, {"f": "1", "g": "2"})
    others = [
        step_key(step({}), 2, {"a": "x"}, {"f": "1", "g": "2"}),
        step_key(step({}), 1, {"a": "y"}, {"f": "1", "g": "2"}),
        step_key(step({}), 1, {"b": "x"}, {"f": "1", "g": "2"}),
        step_key(step({}), 1, {"a": "x"}, {"f": "1", "g": "3"}),
        step_key(step({}), 1, {"a": "x"}, {"g": "2", "f": "1"}),  # rows come in another order
        step_key(Step("train.a", "merge", "a", {}, {}), 1, {"a": "x"}, {"f": "1", "g": "2"}),
    ]
    assert base not in others
    assert len(set(others)) == len(others)


def test_true_one_and_text_are_different_values() -> None:
    digests = {value_digest(value) for value in (True, 1, "1", 1.5, None, "", [], {}, [1], ["1"])}
    assert len(digests) == 10


def test_flatten_names_every_leaf_by_its_key_path() -> None:
    value = {
        "filters": [{"kind": "length", "min": 3}, {"kind": "refusal", "phrases": []}],
        "metrics": ["loss", {"kind": "exact-match"}],
        "names": ["a", "b"],
        "empty": {},
    }
    assert dict(flatten(value, "d")) == {
        "d.filters[0].kind": "length",
        "d.filters[0].min": 3,
        "d.filters[1].kind": "refusal",
        "d.filters[1].phrases": [],
        "d.metrics[0]": "loss",
        "d.metrics[1].kind": "exact-match",
        "d.names": ["a", "b"],
        "d.empty": {},
    }


def test_a_table_leaves_out_keys_with_all_below_them() -> None:
    resolved = {"train": {"a": {"args": {"x": 1, "keep": 2}, "start": "", "starter": 5}}}
    found = table(resolved, ("train", "a"), ("start", "args.keep"))
    assert found == {"train.a.args.x": 1, "train.a.starter": 5}


def test_steps_come_after_their_inputs_and_a_circle_is_named() -> None:
    steps = {
        name: Step(name, "train", name, {}, inputs)
        for name, inputs in {"c": {"x": "b"}, "a": {}, "b": {"x": "a"}}.items()
    }
    assert [found.id for found in topological(steps)] == ["a", "b", "c"]
    steps["a"] = Step("a", "train", "a", {}, {"x": "c"})
    with pytest.raises(UsageError, match="c -> b -> a -> c"):
        topological(steps)
