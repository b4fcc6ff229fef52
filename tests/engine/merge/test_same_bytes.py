"""Every method: the same plan gives the same bytes, on any number of threads and again."""

from typing import Any

import numpy as np
import pytest

from tuneforge.merge.blocks import BLOCK
from tuneforge.merge.methods import METHODS

# Two tensors of several blocks, so that threads work at the same time.
SHAPES = {
    "model.embed_tokens.weight": (600, 512),
    "model.layers.0.mlp.up_proj.weight": (1100, 256),
    "model.layers.1.mlp.up_proj.weight": (64, 48),
    "model.norm.weight": (48,),
}
SPEC: dict[str, dict[str, Any]] = {
    "greedy_soup": {"evaluate": "held-out"},
    "slerp": {"t": 0.3},
    "nearswap": {"t": 0.01},
    "sce": {"select": 0.5},
}
INPUTS = {"nearswap": 1, "arcee_fusion": 1, "slerp": 2, "nuslerp": 2}


def tensors(seed: int, base: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    made = {n: generator.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
    if base is None:
        return made
    return {n: base[n] + np.float32(0.1) * values for n, values in made.items()}


BASE = tensors(0)
MODELS = [tensors(seed, BASE) for seed in (1, 2, 3)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_threads_and_repetition_change_nothing(merged: Any, method: str, dtype: str) -> None:
    assert max(np.prod(shape) for shape in SHAPES.values()) > BLOCK
    settings = {"weight": 0.6, "density": 0.5} if method not in INPUTS else {}
    inputs = [(model, settings) for model in MODELS[: INPUTS.get(method, 3)]]
    spec = {"method": method, **SPEC.get(method, {})}
    first = merged(BASE, inputs, dtype=dtype, threads=1, **spec)
    for threads in (4, 1, 3):
        again = merged(BASE, inputs, dtype=dtype, threads=threads, **spec)
        for name, values in first.items():
            assert again[name].tobytes() == values.tobytes(), (threads, name)
    assert any((first[name] != BASE[name]).any() for name in BASE)
