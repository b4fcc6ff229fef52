"""Numbers that differ by layer and by tensor: what they are where, and that methods follow them."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import Merge
from tuneforge_specs.settings import Setting

from tuneforge.merge.place import Place, places

LAYERS = 5
SHAPES = {
    "model.embed_tokens.weight": (12, 4),
    **{f"model.layers.{n}.self_attn.q_proj.weight": (4, 4) for n in range(LAYERS)},
    **{f"model.layers.{n}.mlp.up_proj.weight": (6, 4) for n in range(LAYERS)},
    "model.norm.weight": (4,),
}


def tensors(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {n: generator.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}


BASE, ONE, TWO = tensors(0), tensors(1), tensors(2)


def setting(value: Any) -> Any:
    return TypeAdapter(Setting).validate_python(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3, [0.3] * 5),
        ([0.0, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]),
        ([1.0, 0.0, 0.5], [1.0, 0.5, 0.0, 0.25, 0.5]),
        ([0.7], [0.7] * 5),
        ({"filter": "mlp", "value": [0.0, 1.0]}, [9.0] * 5),
        ([{"filter": "attn.?_proj", "value": 0.2}, {"value": 0.4}], [0.2] * 5),
        ([{"filter": "layers.3.", "value": 0.2}, {"filter": "*", "value": 0.4}],
         [0.4, 0.4, 0.4, 0.2, 0.4]),
    ],
)  # fmt: skip
def test_what_a_setting_is_in_each_layer(value: Any, expected: list[float]) -> None:
    found = places(SHAPES)
    names = [f"model.layers.{n}.self_attn.q_proj.weight" for n in range(LAYERS)]
    assert [found[name].value(setting(value), 9.0) for name in names] == pytest.approx(expected)


def test_outside_of_layers_the_first_number_counts_and_in_an_only_layer_the_last() -> None:
    assert places(SHAPES)["model.norm.weight"].value((0.2, 0.8), 1.0) == 0.2
    assert places(["h.0.mlp.weight"])["h.0.mlp.weight"].value((0.2, 0.8), 1.0) == 0.8


def test_stacks_beside_each_other_have_their_own_depth() -> None:
    names = [f"vision.layers.{n}.w" for n in range(2)] + [f"text.layers.{n}.w" for n in range(3)]
    assert [place.depth for place in places(names).values()] == [0.0, 1.0, 0.0, 0.5, 1.0]


def share(name: str, first: float, last: float) -> float:
    """Linear interpolation over the layers, in plain words: no code of ours."""
    if ".layers." not in name:
        return first
    return first + (last - first) * int(name.split(".")[2]) / (LAYERS - 1)


def test_task_arithmetic_against_float64(merged: Any) -> None:
    inputs = [
        (ONE, {"weight": [0.2, 0.8]}),
        (TWO, {"weight": [{"filter": "mlp", "value": -0.5}, {"value": [1.0, 0.0]}]}),
    ]
    result = merged(BASE, inputs, method="task_arithmetic", **{"lambda": [2.0, 1.0]})
    for name in SHAPES:
        base, one, two = (m[name].astype(np.float64) for m in (BASE, ONE, TWO))
        other = -0.5 if "mlp" in name else share(name, 1.0, 0.0)
        delta = share(name, 0.2, 0.8) * (one - base) + other * (two - base)
        expected = base + share(name, 2.0, 1.0) * delta
        assert np.abs(result[name] - expected).max() <= 2e-6 * np.abs(expected).max(), name


def test_trimming_follows_density(merged: Any) -> None:
    inputs = [(ONE, {"density": [0.0, 1.0]})]
    result = merged(BASE, inputs, method="ties")
    for name, values in result.items():
        kept = int((values != BASE[name]).sum())
        assert kept == int(share(name, 0.0, 1.0) * values.size), name


def test_slerp_from_one_end_to_the_other(merged: Any) -> None:
    result = merged(BASE, [(ONE, {}), (TWO, {})], method="slerp", t=[0.0, 1.0])
    first, last = (f"model.layers.{n}.mlp.up_proj.weight" for n in (0, LAYERS - 1))
    assert np.array_equal(result[first], ONE[first])
    assert np.array_equal(result[last], TWO[last])


def test_weights_that_sum_to_zero_somewhere_are_refused(merged: Any) -> None:
    inputs = [(ONE, {"weight": {"filter": "mlp", "value": 0}}), (TWO, {"weight": 0.0})]
    with pytest.raises(DataError, match=r"sum to 0 at model\.layers\.0\.mlp\.up_proj"):
        merged(BASE, inputs, method="linear")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"method": "slerp", "t": [0.1, {"value": 0.2}]}, "do not mix"),
        ({"method": "slerp", "t": [0.1, 1.2]}, "less than or equal to 1"),
        ({"method": "slerp", "t": []}, "at least 1 item"),
        ({"method": "slerp", "t": {"filter": "mlp", "value": 1.5}}, "less than or equal to 1"),
        ({"method": "nearswap", "t": {"filter": "mlp", "value": 0.1}}, "other tensors"),
        ({"method": "nearswap", "t": [0.1, 0.0]}, "above 0"),
    ],
)
def test_what_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Merge).validate_python({"inputs": [{"model": "m"}], **table})


def test_della_checks_every_density() -> None:
    table = {"method": "della", "inputs": [{"model": "m", "density": [0.5, 0.9]}]}
    with pytest.raises(ValidationError, match=r"0\.9 \+/- epsilon"):
        TypeAdapter(Merge).validate_python(table)


def test_a_place_is_where_a_filter_looks() -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    assert Place(name).value(setting({"filter": "up_proj", "value": 2.0}), 1.0) == 2.0
    assert Place(name).value(setting({"filter": "UP_PROJ", "value": 2.0}), 1.0) == 1.0


def test_epsilon_varies_by_layer_and_name(merged: Any) -> None:
    inputs = [(ONE, {"density": 0.5})]
    varied = merged(
        BASE, inputs, method="della_linear",
        epsilon=[{"filter": "mlp", "value": 0.4}, {"value": 0.1}],
    )  # fmt: skip
    wide = merged(BASE, inputs, method="della_linear", epsilon=0.4)
    narrow = merged(BASE, inputs, method="della_linear", epsilon=0.1)
    for name, values in varied.items():
        expected = wide if "mlp" in name else narrow
        assert np.array_equal(values, expected[name]), name
    assert any((wide[name] != narrow[name]).any() for name in wide)


def test_a_varied_epsilon_is_held_against_the_density_of_each_tensor(merged: Any) -> None:
    density = {"filter": "mlp", "value": 0.9}
    epsilon = [{"filter": "mlp", "value": 0.05}, {"value": 0.3}]
    merged(BASE, [(ONE, {"density": density})], method="della", epsilon=epsilon)
    with pytest.raises(DataError, match=r"mlp\.up_proj\.weight has density 0\.9 \+/- epsilon 0\.3"):
        merged(BASE, [(ONE, {"density": density})], method="della", epsilon=[0.3, 0.3])
    with pytest.raises(ValueError, match=r"above 0 and below 0\.5"):
        merged(BASE, [(ONE, {"density": density})], method="della", epsilon=[0.1, 0.5])
