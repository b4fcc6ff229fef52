"""The way through Unsloth, with a stand-in for the package: the real one needs a GPU."""

import json
from pathlib import Path

import pytest

from tuneforge.runs import run_job

pytestmark = pytest.mark.train


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_unsloth"))
    monkeypatch.setenv("FAKE_UNSLOTH_CALLS", str(tmp_path / "calls"))
    return lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def test_unsloth_comes_first_gets_the_base_and_the_adapter_and_learns_the_same_rows(
    job, tmp_path, report, losses, calls, train_here, base
):
    made = job(backend="unsloth", quantize="none", adapter={"r": 2, "rslora": True})
    output = run_job(tmp_path / "fast", made, report).output
    loaded, adapted = calls()
    assert loaded["model_name"] == str(base)
    assert loaded["use_exact_model_name"] is True
    assert (loaded["load_in_4bit"], loaded["full_finetuning"]) == (False, False)
    assert (loaded["max_seq_length"], loaded["dtype"]) == (128, "torch.float32")
    assert (adapted["r"], adapted["use_rslora"], adapted["target_modules"]) == (
        2,
        True,
        "all-linear",
    )
    assert json.loads((output / "training.json").read_text())["backend"] == "unsloth"
    # the same rows and labels go in: with the stand-in, so do the losses come out
    train_here(made | {"backend": "trl"}, tmp_path / "plain")
    assert losses(tmp_path / "fast") == losses(tmp_path / "plain")


def test_dpo_goes_on_from_an_adapter(job, tmp_path, report, events, calls, train_here):
    start = train_here(job(quantize="none"), tmp_path / "start") / "adapter"
    made = job(
        "dpo",
        backend="unsloth",
        quantize="none",
        start={"path": str(start), "digest": "s"},
        args={"max_steps": 2},
    )
    output = run_job(tmp_path / "fast", made, report).output
    assert [c["call"] for c in calls()] == ["from_pretrained", "get_peft_model"]
    assert events(tmp_path / "fast", "step")[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    from safetensors.torch import load_file

    before = load_file(start / "adapter_model.safetensors")
    after = load_file(output / "adapter" / "adapter_model.safetensors")
    name = next(name for name in before if "lora_B" in name)
    assert 0 < (after[name] - before[name]).norm() < before[name].norm()
