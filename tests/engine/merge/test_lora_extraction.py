"""A full fine-tune taken back to a LoRA: the best of its rank, read block by block."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import LoraExtractMerge, ModelInput

from tuneforge.merge.lowrank import extract
from tuneforge.merge.lowrank.run import plan_from
from tuneforge.merge.resolve import InputFolder

Q, K = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"


@pytest.fixture
def tuned(loras: Any) -> Any:
    """Give the fixture's base a fine-tune whose differences fall off like a real one's."""
    generator = np.random.default_rng(5)
    tensors = load_file(loras.base / "model.safetensors")
    for name in (Q, K):
        left = generator.normal(size=(48, 32)) * (0.8 ** np.arange(32))
        tensors[f"{name}.weight"] += (left @ generator.normal(size=(32, 32))).astype(np.float32)
    (loras.folder / "tuned").mkdir()
    save_file(tensors, loras.folder / "tuned" / "model.safetensors")
    config = (loras.base / "config.json").read_text()
    (loras.folder / "tuned" / "config.json").write_text(config)
    return loras


def difference(loras: Any, module: str) -> np.ndarray:
    files = [loras.folder / name / "model.safetensors" for name in ("tuned", "base")]
    after, before = (load_file(file)[f"{module}.weight"].astype(np.float64) for file in files)
    made: np.ndarray = after - before
    return made


@pytest.mark.parametrize("rank", [1, 6, 32, 100])
def test_it_is_the_best_of_its_rank(tuned: Any, rank: int) -> None:
    report = tuned.make("lora_extract", [{"model": "tuned"}], rank=rank)
    made = tuned.deltas(tuned.out)
    for module in report["modules"]:
        exact = difference(tuned, module["module"])
        values = np.linalg.svd(exact, compute_uv=False)
        best, whole = float(np.linalg.norm(values[rank:])), float(np.linalg.norm(values))
        missed = float(np.linalg.norm(exact - made[module["module"]]))
        assert module["rank"] == min(rank, 32)
        assert missed <= best + 1e-6 * whole
        assert module["error"] == pytest.approx(missed / whole, rel=1e-3, abs=1e-7)


def test_random_projection_comes_close_to_the_best(
    tuned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = tuned.make("lora_extract", [{"model": "tuned"}], rank=6)
    monkeypatch.setattr(extract, "EXACT", 0)
    monkeypatch.setattr(extract.Difference, "whole", None)
    near = tuned.make("lora_extract", [{"model": "tuned"}], rank=6, out="near")
    assert exact["error"] <= near["error"] * (1 + 1e-6)
    assert near["error"] <= exact["error"] * 1.01
    again = tuned.make("lora_extract", [{"model": "tuned"}], rank=6, out="again", threads=1)
    assert again == near
    files = [tuned.folder / name / "adapter_model.safetensors" for name in ("near", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_has_no_place_in_a_lora_is_named_and_counts_as_missed(tuned: Any) -> None:
    before = tuned.make("lora_extract", [{"model": "tuned"}], rank=32)
    file = tuned.folder / "tuned" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] += 2.0
    save_file(tensors, file)
    after = tuned.make("lora_extract", [{"model": "tuned"}], rank=32, out="after")
    assert (before["left_out"], after["left_out"]) == ({}, {"model.norm.weight": 8.0})
    whole = sum(np.linalg.norm(difference(tuned, name)) ** 2 for name in (Q, K))
    assert before["error"] < 1e-6
    assert after["error"] == pytest.approx(8.0 / (whole + 64.0) ** 0.5, rel=1e-3)


def test_layers_left_alone_are_not_in_the_adapter(tuned: Any) -> None:
    file = tuned.folder / "tuned" / "model.safetensors"
    base = load_file(tuned.base / "model.safetensors")
    save_file(load_file(file) | {f"{K}.weight": base[f"{K}.weight"]}, file)
    report = tuned.make("lora_extract", [{"model": "tuned"}], rank=2)
    assert [module["module"] for module in report["modules"]] == [Q]


def test_equal_models_are_refused(tuned: Any) -> None:
    with pytest.raises(DataError, match="none of its linear layers differs"):
        tuned.make("lora_extract", [{"model": "base"}], rank=2)


def test_on_nf4_the_adapter_takes_the_quantisation_back(tuned: Any) -> None:
    plain = tuned.make("lora_extract", [{"model": "tuned"}], rank=32)
    report = tuned.make("lora_extract", [{"model": "tuned"}], rank=32, onto="dequantised", out="4")
    assert report["base"]["quantize"] == "nf4"
    assert plain["base"]["quantize"] == "none"
    place = InputFolder("tuned", tuned.folder / "tuned", False, {})
    entry = ModelInput(model="tuned")
    spec = LoraExtractMerge(method="lora_extract", inputs=(entry,), rank=1, onto="dequantised")
    plan = plan_from(tuned.base, {}, "auto", spec, [place], 0)
    # base as NF4 holds it + adapter = the fine-tune
    exact = extract.Difference(plan, f"{Q}.weight").whole()
    assert np.abs(exact - difference(tuned, Q)).max() > 1e-3
    assert np.allclose(tuned.deltas(tuned.folder / "4")[Q], exact, atol=1e-4)


def test_a_difference_is_never_whole(tuned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneforge.merge import blocks

    monkeypatch.setattr(blocks, "BLOCK", 64)
    place = InputFolder("tuned", Path(tuned.folder / "tuned"), False, {})
    spec = LoraExtractMerge(method="lora_extract", inputs=(ModelInput(model="t"),), rank=1)
    read = extract.Difference(plan_from(tuned.base, {}, "auto", spec, [place], 0), f"{Q}.weight")
    assert max(values.size for _, values in read.blocks()) <= 64
    exact = difference(tuned, Q)
    right, left = np.ones((32, 2)), np.ones((48, 3))
    assert np.allclose(read.times(right), exact @ right, atol=1e-4)
    assert np.allclose(read.across(left), exact.T @ left, atol=1e-4)
    assert read.norm() == pytest.approx(np.linalg.norm(exact), rel=1e-6)
