"""Several LoRAs as one: exact side by side, and the best approximation of a chosen rank."""

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import DataError

Q, K = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"


def expected(loras: Any, weights: tuple[float, float]) -> dict[str, np.ndarray]:
    total = {Q: np.zeros((48, 32)), K: np.zeros((48, 32))}
    for folder, weight in zip(("first", "second"), weights, strict=True):
        for name, delta in loras.deltas(loras.folder / folder).items():
            total[name] += weight * delta
    return total


def test_side_by_side_is_exact(loras: Any) -> None:
    report = loras.make(
        "lora_cat", [{"adapter": "first", "weight": 0.7}, {"adapter": "second", "weight": -1.5}]
    )
    made = loras.deltas(loras.out)
    for name, delta in expected(loras, (0.7, -1.5)).items():
        assert np.abs(made[name] - delta).max() <= 1e-6 * np.abs(delta).max()
    assert report["error"] < 1e-6
    assert [module["rank"] for module in report["modules"]] == [7, 4]
    config = json.loads((loras.out / "adapter_config.json").read_text())
    assert sorted(config["rank_pattern"].values()) in ([4], [7])
    assert config["alpha_pattern"] == config["rank_pattern"]


def test_an_input_may_count_by_layer(loras: Any) -> None:
    loras.make("lora_cat", [{"adapter": "first", "weight": [1.0, 3.0]}])
    made, theirs = loras.deltas(loras.out), loras.deltas(loras.folder / "first")
    assert np.allclose(made[Q], theirs[Q], atol=1e-5)
    assert np.allclose(made[K], 3 * theirs[K], atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 5, 7, 40])
def test_compression_is_the_best_of_its_rank(loras: Any, rank: int) -> None:
    report = loras.make(
        "lora_svd",
        [{"adapter": "first", "weight": 1.0}, {"adapter": "second", "weight": 2.0}],
        rank=rank,
    )
    made, squares = loras.deltas(loras.out), [0.0, 0.0]
    for module in report["modules"]:
        delta = expected(loras, (1.0, 2.0))[module["module"]]
        values = np.linalg.svd(delta, compute_uv=False)  # Eckart and Young 1936
        best, whole = float(np.linalg.norm(values[rank:])), float(np.linalg.norm(values))
        missed = float(np.linalg.norm(delta - made[module["module"]]))
        assert missed <= best * (1 + 1e-9) + 1e-6 * whole
        assert module["error"] == pytest.approx(missed / whole, rel=1e-3, abs=1e-7)
        assert module["rank"] <= rank
        squares = [squares[0] + missed**2, squares[1] + whole**2]
    assert report["error"] == pytest.approx((squares[0] / squares[1]) ** 0.5, rel=1e-3, abs=1e-7)


def test_dtype_is_that_of_the_factors_and_its_rounding_counts(loras: Any) -> None:
    full = loras.make("lora_cat", [{"adapter": "first", "weight": 1.0}])
    small = loras.make(
        "lora_cat", [{"adapter": "first", "weight": 1.0}], dtype="bfloat16", out="small"
    )
    assert small["bytes"] * 2 == full["bytes"]
    made, theirs = loras.deltas(loras.out), loras.deltas(loras.folder / "first")
    missed = np.linalg.norm(made[Q] - theirs[Q]) / np.linalg.norm(theirs[Q])
    assert 1e-4 < missed < 1e-2
    found = next(m for m in small["modules"] if m["module"] == Q)
    assert found["error"] == pytest.approx(missed, rel=1e-2)


def test_bytes_are_equal_on_any_number_of_threads(loras: Any) -> None:
    inputs: list[dict[str, Any]] = [
        {"adapter": "first", "weight": 1.0},
        {"adapter": "second", "weight": 1.0},
    ]
    loras.make("lora_svd", inputs, rank=3, threads=1)
    first = {p.name: p.read_bytes() for p in loras.out.iterdir()}
    loras.make("lora_svd", inputs, rank=3, threads=4, out="again")
    assert {p.name: p.read_bytes() for p in loras.out.iterdir()} == first


def test_it_says_what_it_belongs_on(loras: Any) -> None:
    report = loras.make("lora_cat", [{"adapter": "first", "weight": 1.0}])
    assert report["base"] == {"id": "acme/base", "digest": "d", "quantize": "none",
                              "dtype": "float32"}  # fmt: skip
    report = loras.make(
        "lora_cat", [{"adapter": "first", "weight": 1.0}], onto="dequantised", out="nf4"
    )
    assert (report["base"]["quantize"], report["onto"]) == ("nf4", "dequantised")


def test_updates_that_cancel_are_refused(loras: Any) -> None:
    with pytest.raises(DataError, match="changes nothing"):
        loras.make(
            "lora_svd",
            [{"adapter": "first", "weight": 1.0}, {"adapter": "first", "weight": -1.0}],
            rank=2,
        )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"base_model.model.{Q}.lora_magnitude_vector.weight", "has DoRA"),
        (f"base_model.model.{Q}.lora_B.bias", "has a bias"),
        ("base_model.model.model.norm.weight", "a whole new model.norm.weight"),
    ],
)
def test_what_is_no_low_rank_sum_is_refused(loras: Any, key: str, words: str) -> None:
    file = loras.folder / "first" / "adapter_model.safetensors"
    size = 16 if "norm" in key else 48
    save_file(load_file(file) | {key: np.full(size, 2, np.float32)}, file)
    with pytest.raises(DataError, match=words):
        loras.make("lora_cat", [{"adapter": "first", "weight": 1.0}])
    assert not loras.out.exists()


def test_an_embedding_saved_unchanged_is_no_obstacle(loras: Any) -> None:
    file = loras.folder / "first" / "adapter_model.safetensors"
    norm = load_file(loras.base / "model.safetensors")["model.norm.weight"]
    key = "base_model.model.model.norm.weight"
    save_file(load_file(file) | {key: norm}, file)
    loras.make("lora_cat", [{"adapter": "first", "weight": 1.0}])
    assert key not in load_file(loras.out / "adapter_model.safetensors")


def test_the_plan_names_modules_ranks_and_inputs(loras: Any) -> None:
    from tuneforge_specs.merge import AdapterInput, LoraSvdMerge

    from tuneforge.merge.lowrank import describe
    from tuneforge.merge.lowrank.run import plan_from
    from tuneforge.merge.resolve import input_folder

    entries = [AdapterInput(adapter=str(loras.folder / name)) for name in ("first", "second")]
    folders = [input_folder(entry, loras.folder / entry.adapter) for entry in entries]
    spec = LoraSvdMerge(method="lora_svd", inputs=tuple(entries), rank=5)
    plan = plan_from(loras.base, {}, "auto", spec, folders, 0)
    values = describe.plan_values(plan, 2)
    assert values["modules"] == [
        {"name": Q, "rank": 5, "shape": [48, 32], "sources": ["first", "second"]},
        {"name": K, "rank": 4, "shape": [48, 32], "sources": ["first"]},
    ]
    assert values["bytes_out"] == 4 * (5 + 4) * (48 + 32)
    assert any(Q in line and "rank 5" in line for line in describe.plan_lines(plan, 2))
