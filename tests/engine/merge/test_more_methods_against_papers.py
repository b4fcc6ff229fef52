"""Sphere, stock, selection and dropping methods against references from their papers."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tuneforge.merge.methods import METHODS, method_named
from tuneforge.merge.methods.della import chances

Array = np.ndarray
SHAPES = {
    "model.embed_tokens.weight": (50, 16),
    "model.layers.0.mlp.up_proj.weight": (40, 16),
    "model.norm.weight": (16,),
}
GENERATOR = np.random.default_rng(11)
BASE = {n: GENERATOR.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
MODELS = [
    {n: (BASE[n] + 0.3 * GENERATOR.normal(size=s)).astype(np.float32) for n, s in SHAPES.items()}
    for _ in range(3)
]


def check(result: dict[str, Array], reference: Any, count: int, tolerance: float = 3e-6) -> None:
    for name, values in result.items():
        base = BASE[name].astype(np.float64)
        expected = reference(base, *(m[name].astype(np.float64) for m in MODELS[:count]))
        scale = np.abs(expected).max()
        assert np.abs(values.astype(np.float64) - expected).max() <= tolerance * scale, name


def inputs(*settings: dict[str, Any]) -> list[Any]:
    return list(zip(MODELS, settings, strict=False))


def arc(a: Array, b: Array, t: float) -> Array:
    omega = math.acos(float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)))
    return (math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("of", ["deltas", "weights"])
def test_nuslerp(merged: Any, rows: bool, of: str) -> None:
    result = merged(BASE, inputs({"weight": 1.0}, {"weight": 3.0}), method="nuslerp", of=of,
                    rows=rows)  # fmt: skip

    def reference(base: Array, one: Array, two: Array) -> Array:
        origin = base if of == "deltas" else 0 * base
        a, b = one - origin, two - origin
        if rows and a.ndim == 2:
            return origin + np.array([arc(x, y, 0.75) for x, y in zip(a, b, strict=True)])
        return origin + arc(a, b, 0.75)

    check(result, reference, 2)


@pytest.mark.parametrize("of", ["deltas", "weights"])
def test_multislerp_by_its_tangent_space(merged: Any, of: str) -> None:
    weights = [0.5, 0.3, 0.8]
    result = merged(BASE, inputs(*({"weight": w} for w in weights)), method="multislerp", of=of)

    def reference(base: Array, *models: Array) -> Array:
        origin = base if of == "deltas" else 0 * base
        shares = np.array(weights) / sum(weights)
        flats = [(m - origin).reshape(-1) for m in models]
        norms = [np.linalg.norm(flat) for flat in flats]
        units = [flat / norm for flat, norm in zip(flats, norms, strict=True)]
        mean = sum(w * u for w, u in zip(shares, units, strict=True))
        mean = mean / np.linalg.norm(mean)
        tangent = sum(w * (u - (u @ mean) * mean) for w, u in zip(shares, units, strict=True))
        length = np.linalg.norm(tangent) + 1e-30
        point = mean * math.cos(length) + tangent / length * math.sin(length)
        return origin + (point * (shares @ np.array(norms))).reshape(base.shape)

    check(result, reference, 3)


def test_multislerp_of_opposite_directions_is_an_error(merged: Any) -> None:
    from tuneforge_specs.errors import DataError

    zero = {"model.norm.weight": np.zeros(16, np.float32)}
    step = np.ones(16, np.float32)
    steps = [({"model.norm.weight": s * step}, {"weight": w}) for s, w in ((1, 1), (-1, 2), (1, 1))]
    with pytest.raises(DataError, match="cancel out"):
        merged(zero, steps, method="multislerp")


def test_karcher_is_where_the_logarithms_cancel(merged: Any) -> None:
    result = merged(BASE, inputs({}, {}, {}), method="karcher", iterations=50, tolerance=1e-9)
    for name, values in result.items():
        flats = [m[name].astype(np.float64).reshape(-1) for m in MODELS]
        norms = [np.linalg.norm(flat) for flat in flats]
        point = values.astype(np.float64).reshape(-1)
        assert math.isclose(np.linalg.norm(point), np.mean(norms), rel_tol=1e-5)
        point /= np.linalg.norm(point)
        logs = np.zeros_like(point)
        for flat, norm in zip(flats, norms, strict=True):
            unit = flat / norm
            angle = math.acos(unit @ point)
            logs += angle / math.sin(angle) * (unit - (unit @ point) * point)
        assert np.linalg.norm(logs) < 1e-5


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_model_stock(merged: Any, rows: bool, count: int) -> None:
    result = merged(BASE, inputs(*[{}] * count), method="model_stock", rows=rows)

    def one(base: Array, models: list[Array]) -> Array:
        deltas = [m - base for m in models]
        cosine = np.mean(
            [np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
             for a, b in combinations(deltas, 2)]
        )  # fmt: skip
        t = count * cosine / (1 + (count - 1) * cosine)
        return t * np.mean(models, axis=0) + (1 - t) * base

    def reference(base: Array, *models: Array) -> Array:
        if rows and base.ndim == 2:
            return np.array([one(base[i], [m[i] for m in models]) for i in range(len(base))])
        return one(base, list(models))

    check(result, reference, count, 1e-5)


@pytest.mark.parametrize("select", [0.3, 1.0])
def test_sce(merged: Any, select: float) -> None:
    result = merged(BASE, inputs({}, {}, {}), method="sce", select=select)

    def reference(base: Array, *models: Array) -> Array:
        deltas = np.stack([m - base for m in models])
        if select < 1:
            variance = deltas.var(axis=0).reshape(-1)
            keep = int((variance != 0).sum() * select)
            mask = np.zeros(variance.size, bool)
            mask[np.argsort(variance)[variance.size - keep :]] = True
            deltas = deltas * mask.reshape(base.shape)
        energy = (deltas**2).reshape(3, -1).mean(axis=1)
        weights = energy / energy.sum()
        sign = np.where(deltas.sum(axis=0) >= 0, 1, -1)
        share = weights.reshape(3, *[1] * base.ndim) * (np.sign(deltas) == sign)
        return base + (share * deltas).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-6)

    check(result, reference, 3, 1e-5)


def test_nearswap(merged: Any) -> None:
    result = merged(BASE, inputs({}), method="nearswap", t=0.05)

    def reference(base: Array, model: Array) -> Array:
        return base + np.sign(model - base) * np.minimum(np.abs(model - base), 0.05)

    check(result, reference, 1)


def test_arcee_fusion(merged: Any) -> None:
    result = merged(BASE, inputs({}), method="arcee_fusion")

    def reference(base: Array, model: Array) -> Array:
        rows, old = np.atleast_2d(model), np.atleast_2d(base)
        p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) + 1e-8 for x in (rows, old))
        score = np.abs(rows - old) * (p * np.log(p / q)).sum(axis=1, keepdims=True)
        ordered = np.sort(score.reshape(-1))
        low, middle, high = (ordered[int(s * (ordered.size - 1))] for s in (0.25, 0.5, 0.75))
        return np.where(score >= middle + 1.5 * (high - low), rows, old).reshape(base.shape)

    check(result, reference, 1)
    assert 0 < sum((result[n] != BASE[n]).sum() for n in BASE) < 300


def crumbs(delta: Array, density: float, gamma: float) -> Array:
    flat = np.abs(delta).reshape(-1)
    order = np.argsort(flat, kind="stable")
    keep, top = int(density * flat.size), int(gamma * flat.size)
    first = max(0, flat.size - keep - top)
    mask = np.zeros(flat.size)
    mask[order[first : first + keep]] = 1
    return delta * mask.reshape(delta.shape)


def test_breadcrumbs(merged: Any) -> None:
    settings = [{"weight": 0.7, "density": 0.6}, {"weight": 0.5, "density": 0.99}]
    result = merged(BASE, inputs(*settings), method="breadcrumbs", gamma=0.1)

    def reference(base: Array, *models: Array) -> Array:
        parts = [
            s["weight"] * crumbs(m - base, s["density"], 0.1)
            for m, s in zip(models, settings, strict=True)
        ]
        return base + sum(parts)

    check(result, reference, 2)


def test_breadcrumbs_ties_elects_signs(merged: Any) -> None:
    settings = [{"weight": 0.7, "density": 0.6}, {"weight": 0.5, "density": 0.8}]
    result = merged(BASE, inputs(*settings), method="breadcrumbs_ties", gamma=0.05)

    def reference(base: Array, *models: Array) -> Array:
        parts = np.stack(
            [s["weight"] * crumbs(m - base, s["density"], 0.05)
             for m, s in zip(models, settings, strict=True)]
        )  # fmt: skip
        sign = np.where(parts.sum(axis=0) >= 0, 1, -1)
        return base + (parts * (np.sign(parts) == sign)).sum(axis=0)

    check(result, reference, 2)


def test_della_chances_rise_with_the_rank_in_each_row() -> None:
    delta = np.random.default_rng(0).normal(size=(7, 101)).astype(np.float32)
    odds = chances(delta, 0.5, 0.2)
    for row, chance in zip(np.abs(delta), odds, strict=True):
        rank = np.argsort(np.argsort(row))
        assert np.allclose(chance, 0.3 + 0.4 * rank / 100, atol=1e-6)


@pytest.mark.parametrize("rescale", [True, False])
def test_della_keeps_by_chance_and_rescales_by_it(merged: Any, rescale: bool) -> None:
    base = {"model.layers.0.mlp.up_proj.weight": np.zeros((500, 200), np.float32)}
    step = np.random.default_rng(3).normal(size=(500, 200)).astype(np.float32)
    result = merged(
        base, [(dict.fromkeys(base, step), {"density": 0.4})], method="della_linear",
        epsilon=0.1, rescale=rescale,
    )  # fmt: skip
    values = next(iter(result.values()))
    kept = values != 0
    odds = chances(step, 0.4, 0.1)
    for low in (0.3, 0.35, 0.4, 0.45):
        here = (odds >= low) & (odds < low + 0.05)
        share = odds[here].mean()
        assert abs(kept[here].mean() - share) < 5 * math.sqrt(share * (1 - share) / here.sum())
    expected = step / odds if rescale else step
    assert np.allclose(values[kept], expected[kept], rtol=1e-6)


def test_della_elects_signs_and_averages(merged: Any) -> None:
    both = [{"density": 0.5, "weight": 0.7}, {"density": 0.6, "weight": 0.4}]
    alone = [
        merged(BASE, inputs(both[0], both[1] | {"weight": 0.0}), method="della_linear"),
        merged(BASE, inputs(both[0] | {"weight": 0.0}, both[1]), method="della_linear"),
    ]
    result = merged(BASE, inputs(*both), method="della")
    for name, values in result.items():
        parts = np.stack([one[name].astype(np.float64) - BASE[name] for one in alone])
        sign = np.where(parts.sum(axis=0) >= 0, 1, -1)
        chosen = (np.sign(parts) == sign) & (np.abs(parts) > 1e-6)
        weights = np.array([0.7, 0.4]).reshape(2, *[1] * values.ndim)
        divisor = (weights * chosen).sum(axis=0)
        mean = (parts * chosen).sum(axis=0) / np.where(divisor == 0, 1, divisor)
        assert np.abs(values - BASE[name] - mean).max() < 1e-5


def test_a_spread_that_leaves_zero_to_one_is_refused(merged: Any) -> None:
    with pytest.raises(ValueError, match="leaves 0 to 1"):
        merged(BASE, inputs({"density": 0.1}), method="della", epsilon=0.15)


def test_the_registry_is_the_spec() -> None:
    from typing import get_args

    from tuneforge_specs.merge import Merge

    from tuneforge.merge.lowrank import ADAPTER_METHODS

    union = get_args(get_args(Merge)[0])
    kinds = {get_args(model.model_fields["method"].annotation)[0] for model in union}
    assert kinds - {"lora", "passthrough"} - set(ADAPTER_METHODS) == set(METHODS)
    assert set(ADAPTER_METHODS) < kinds
    for name in METHODS:
        assert method_named(name).paper
