"""Adapters that merges make, read by PEFT: merged, they are base plus exact deltas."""

from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.merge import AdapterInput, LoraCatMerge, LoraExtractMerge, ModelInput

from tuneforge.merge.lowrank import run as lowrank
from tuneforge.merge.resolve import input_folder

pytestmark = pytest.mark.train


def made(folder: Path, config: dict[str, Any], seed: int) -> Path:
    """Save an adapter of the model in ``folder`` with random factors."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    peft = get_peft_model(model, LoraConfig(**config))
    torch.manual_seed(seed)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    peft.save_pretrained(folder / f"adapter{seed}")
    return folder / f"adapter{seed}"


def llama(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=150,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "base")


def gpt2(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    torch.set_num_threads(1)
    GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=150)).save_pretrained(
        folder / "base"
    )


def merged(folder: Path, *adapters: Path) -> dict[str, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    state: dict[str, Any] = model.state_dict()
    return state


LLAMA = [
    {"r": 8, "lora_alpha": 20, "target_modules": "all-linear"},
    {"r": 4, "lora_alpha": 4, "use_rslora": True, "target_modules": ["q_proj", "embed_tokens"],
     "rank_pattern": {"layers.1.self_attn.q_proj": 2}},
]  # fmt: skip
CONV1D: dict[str, Any] = {"fan_in_fan_out": True, "target_modules": ["c_attn", "c_proj"]}
GPT2 = [{"r": 8, "lora_alpha": 20, **CONV1D}, {"r": 4, "lora_alpha": 4, **CONV1D}]


@pytest.mark.parametrize(("base", "configs"), [(llama, LLAMA), (gpt2, GPT2)])
def test_side_by_side_is_one_after_the_other(tmp_path: Path, base: Any, configs: Any) -> None:
    base(tmp_path)
    adapters = [made(tmp_path, config, seed) for seed, config in enumerate(configs, 1)]
    entries = [AdapterInput(adapter=str(path)) for path in adapters]
    spec = LoraCatMerge(method="lora_cat", inputs=tuple(entries))
    inputs = [input_folder(e, path) for e, path in zip(entries, adapters, strict=True)]
    plan = lowrank.plan_from(tmp_path / "base", {}, "auto", spec, inputs, 0)
    lowrank.write_adapter(plan, tmp_path / "out", 2, lambda done, total: None, {"id": "b"})
    ours, theirs = merged(tmp_path, tmp_path / "out"), merged(tmp_path, *adapters)
    assert ours.keys() == theirs.keys()
    assert any((theirs[n] != v).any() for n, v in merged(tmp_path).items())
    for name, values in theirs.items():
        assert (ours[name] - values).abs().max() <= 2e-6, name


@pytest.mark.parametrize(("base", "config"), [(llama, LLAMA[0]), (gpt2, GPT2[0])])
def test_a_fine_tune_of_low_rank_is_found_again(tmp_path: Path, base: Any, config: Any) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base(tmp_path)
    adapter = made(tmp_path, config, 1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tuned = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    tuned.save_pretrained(tmp_path / "tuned")
    entry = ModelInput(model=str(tmp_path / "tuned"))
    spec = LoraExtractMerge(method="lora_extract", inputs=(entry,), rank=8)
    inputs = [input_folder(entry, tmp_path / "tuned")]
    plan = lowrank.plan_from(tmp_path / "base", {}, "auto", spec, inputs, 0)
    report = lowrank.write_adapter(plan, tmp_path / "out", 2, lambda done, total: None, {"id": "b"})
    assert report["error"] < 1e-5
    assert report["left_out"] == {}
    ours = merged(tmp_path, tmp_path / "out")
    for name, values in tuned.state_dict().items():
        assert (ours[name] - values).abs().max() <= 1e-5, name
