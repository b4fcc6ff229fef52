"""Each merge method against an independent float64 reference written from its paper."""

import math
from typing import Any

import numpy as np
import pytest

Tensors = dict[str, np.ndarray]
Array = np.ndarray


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int, scale: float) -> Tensors:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape) * scale for name, shape in shapes.items()}


SHAPES = {
    "model.embed_tokens.weight": (50, 16),
    "model.layers.0.mlp.up_proj.weight": (40, 16),
    "model.layers.1.self_attn.q_proj.weight": (16, 16),
    "model.norm.weight": (16,),
}
BASE = {n: v.astype(np.float32) for n, v in random_tensors(SHAPES, 0, 1.0).items()}


def tuned(seed: int) -> Tensors:
    steps = random_tensors(SHAPES, seed, 0.3)
    return {name: (BASE[name] + step).astype(np.float32) for name, step in steps.items()}


ONE, TWO, THREE = tuned(1), tuned(2), tuned(3)


def compare(result: Tensors, expected: dict[str, Array], tolerance: float = 2e-6) -> None:
    assert set(result) == set(expected)
    for name, values in expected.items():
        scale = np.abs(values).max()
        assert np.abs(result[name].astype(np.float64) - values).max() <= tolerance * scale, name


def each(function: Any, *models: Tensors) -> dict[str, Array]:
    """Apply a reference to every tensor in float64: base first, then the inputs."""
    return {
        name: function(BASE[name].astype(np.float64), *(m[name].astype(np.float64) for m in models))
        for name in BASE
    }


# Wortsman et al. 2022: the soup is the (weighted) mean of the weights.
@pytest.mark.parametrize("normalize", [True, False])
def test_linear(merged: Any, normalize: bool) -> None:
    inputs = [(ONE, {"weight": 0.7}), (TWO, {"weight": 0.2}), (THREE, {"weight": 0.4})]
    result = merged(BASE, inputs, method="linear", normalize=normalize)
    total = 1.3 if normalize else 1.0
    compare(result, each(lambda _, a, b, c: (0.7 * a + 0.2 * b + 0.4 * c) / total, ONE, TWO, THREE))


# Ilharco et al. 2023: theta = theta_0 + lambda * sum_t w_t tau_t.
@pytest.mark.parametrize("normalize", [True, False])
def test_task_arithmetic(merged: Any, normalize: bool) -> None:
    inputs = [(ONE, {"weight": 0.7}), (TWO, {"weight": -0.2})]
    spec = {"method": "task_arithmetic", "lambda": 1.5, "normalize": normalize}
    result = merged(BASE, inputs, **spec)
    total = 0.5 if normalize else 1.0
    compare(
        result,
        each(lambda o, a, b: o + 1.5 * (0.7 * (a - o) - 0.2 * (b - o)) / total, ONE, TWO),
    )


def trim(delta: Array, density: float) -> Array:
    """Zero all but the top share by magnitude, counting from the largest."""
    flat = delta.reshape(-1)
    keep = max(1, int(density * flat.size)) if density > 0 else 0
    order = sorted(range(flat.size), key=lambda i: (abs(flat[i]), i), reverse=True)
    out = np.zeros_like(flat)
    for index in order[:keep]:
        out[index] = flat[index]
    return out.reshape(delta.shape)


def disjoint(base: Array, deltas: list[Array], weights: list[float], **how: Any) -> Array:
    """Yadav et al. 2023, algorithm 1, steps 2 and 3, element by element."""
    out = np.zeros(base.size)
    flats = [delta.reshape(-1) * weight for delta, weight in zip(deltas, weights, strict=True)]
    for p in range(base.size):
        gamma = 1.0 if sum(flat[p] for flat in flats) >= 0 else -1.0
        chosen = [i for i, flat in enumerate(flats) if np.sign(flat[p]) == gamma]
        total = sum(flats[i][p] for i in chosen)
        divisor = sum(weights[i] for i in chosen) if how.get("normalize") else 1.0
        out[p] = total / divisor if chosen and divisor else total
    return base + how.get("scale", 1.0) * out.reshape(base.shape)


@pytest.mark.parametrize("normalize", [True, False])
def test_ties(merged: Any, normalize: bool) -> None:
    settings = [(0.6, 0.3), (0.5, 0.7), (0.2, 1.0)]
    inputs = [
        (model, {"weight": w, "density": d})
        for model, (w, d) in zip((ONE, TWO, THREE), settings, strict=True)
    ]
    spec = {"method": "ties", "normalize": normalize, "lambda": 0.9}
    result = merged(BASE, inputs, **spec)

    def reference(base: Array, *models: Array) -> Array:
        deltas = [trim(m - base, d) for m, (_, d) in zip(models, settings, strict=True)]
        weights = [w for w, _ in settings]
        return disjoint(base, deltas, weights, normalize=normalize, scale=0.9)

    compare(result, each(reference, ONE, TWO, THREE))


@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_the_count_that_ties_keeps_is_exact_even_among_equals(merged: Any, density: float) -> None:
    # Deltas of a few distinct magnitudes: most elements share theirs with many others.
    generator = np.random.default_rng(5)
    base = {"model.layers.0.mlp.up_proj.weight": np.zeros((64, 50), np.float32)}
    step = generator.choice([-0.5, -0.25, 0.25, 0.5, 1.0], size=(64, 50)).astype(np.float32)
    model = dict.fromkeys(base, step)
    other = dict.fromkeys(base, step * 0 + 1)
    inputs = [(model, {"density": density}), (other, {"weight": 1e-9, "density": 0.001})]
    result = merged(base, inputs, method="ties", normalize=False)
    moved = np.abs(next(iter(result.values()))) > 0.1
    expected = max(1, int(density * step.size)) if density else 0
    assert moved.sum() == expected
    smallest_kept = np.abs(step)[moved].min(initial=9)
    assert np.abs(step)[~moved].max(initial=0) <= smallest_kept


# Shoemake 1985.
@pytest.mark.parametrize("t", [0.125, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("pair", [True, False])
def test_slerp(merged: Any, t: float, pair: bool) -> None:
    inputs = [(ONE, {}), (TWO, {})] if pair else [(TWO, {})]
    result = merged(BASE, inputs, method="slerp", t=t)

    def reference(base: Array, one: Array, two: Array) -> Array:
        a, b = (one if pair else base), two
        cosine = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
        if abs(cosine) > 0.9995:
            return (1 - t) * a + t * b
        omega = math.acos(cosine)
        return (math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)

    compare(result, each(reference, ONE, TWO))


def test_slerp_of_parallel_tensors_is_a_line(merged: Any) -> None:
    double = {name: values * 2 for name, values in BASE.items()}
    result = merged(BASE, [(double, {})], method="slerp", t=0.25)
    compare(result, each(lambda base, _: base * 1.25, double))


# Yu et al. 2024: m ~ Bernoulli(p), tau' = (1 - m) * tau / (1 - p).
def test_dare_keeps_the_expected_share_and_rescales_exactly(merged: Any) -> None:
    base = {"model.layers.0.mlp.up_proj.weight": np.zeros((400, 250), np.float32)}
    step = np.random.default_rng(3).normal(size=(400, 250)).astype(np.float32)
    result = merged(base, [(dict.fromkeys(base, step), {"density": 0.3})], method="dare_linear")
    values = next(iter(result.values()))
    kept = values != 0
    # Five standard deviations of a binomial share.
    assert abs(kept.mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / step.size)
    assert np.allclose(values[kept], step[kept] / 0.3, rtol=1e-6)
    rows = kept.mean(axis=1)
    assert abs(rows.std() - math.sqrt(0.3 * 0.7 / 250)) < 0.005
    neighbours = (kept[:, 1:] & kept[:, :-1]).mean()
    assert abs(neighbours - 0.09) < 0.005


def test_dare_without_rescale_keeps_values(merged: Any) -> None:
    inputs = [(ONE, {"density": 0.5})]
    result = merged(BASE, inputs, method="dare_linear", rescale=False)
    for name, values in result.items():
        moved = values != BASE[name]
        assert 0 < moved.mean() < 1
        assert np.allclose(values[moved], ONE[name][moved], atol=1e-6)


def test_dare_ties_elects_signs_over_what_was_kept(merged: Any) -> None:
    inputs = [(ONE, {"density": 0.5, "weight": 0.7}), (TWO, {"density": 0.6, "weight": 0.4})]
    # The masks depend on the place of the input, so a zero-weight first input keeps the second's.
    first = merged(BASE, [inputs[0], (TWO, {"weight": 0.0})], method="dare_linear")
    second = merged(BASE, [(ONE, {"weight": 0.0}), inputs[1]], method="dare_linear")
    result = merged(BASE, inputs, method="dare_ties")
    expected = {}
    for name, values in BASE.items():
        base = values.astype(np.float64)
        expected[name] = disjoint(base, [first[name] - base, second[name] - base], [1.0, 1.0])
    compare(result, expected, 1e-5)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "ties", "linear", "slerp"])
def test_same_plan_same_bytes_on_any_number_of_threads(merged: Any, method: str) -> None:
    settings = {"density": 0.4} if method not in {"linear", "slerp"} else {}
    inputs = [(ONE, settings), (TWO, {})]
    once = merged(BASE, inputs, method=method, threads=1)
    for threads in (1, 2, 5):
        again = merged(BASE, inputs, method=method, threads=threads)
        assert all(again[name].tobytes() == once[name].tobytes() for name in once)


def test_another_seed_drops_other_elements(merged: Any) -> None:
    inputs = [(ONE, {"density": 0.5})]
    first = merged(BASE, inputs, method="dare_linear", seed=1)
    second = merged(BASE, inputs, method="dare_linear", seed=2)
    assert any((first[name] != second[name]).any() for name in first)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_weights_are_rounded_once(merged: Any, dtype: str) -> None:
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    result = merged(BASE, [(ONE, {}), (TWO, {})], dtype=dtype, method="linear")
    for name, values in result.items():
        a, b = (model[name].astype(kind).astype(np.float64) for model in (ONE, TWO))
        assert values.tolist() == ((a + b) / 2).astype(kind).astype(np.float32).tolist()


def test_nothing_changed_is_an_error(merged: Any) -> None:
    from tuneforge_specs.errors import DataError

    with pytest.raises(DataError, match="equal the base"):
        merged(BASE, [(BASE, {})], method="ties")
    with pytest.raises(DataError, match="every weight is 0"):
        merged(BASE, [(ONE, {"weight": 0.0})], method="task_arithmetic")
