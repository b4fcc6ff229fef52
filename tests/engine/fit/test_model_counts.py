"""Parameter counts against transformers' models and PEFT's adapters, on the meta device."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.train import LoraAdapter

from tuneforge.fit.adapters import lora_parameters
from tuneforge.fit.architecture import read_architecture

pytestmark = pytest.mark.train

CONFIGS = Path(__file__).parent / "configs"
SMALL = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 500,
    "num_hidden_layers": 3,
}
MOE = {"num_experts": 4, "moe_intermediate_size": 32}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"head_dim": 24}),
    ("mistral", {}),
    ("qwen2", {}),
    ("qwen3", {}),
    ("qwen3", {"head_dim": 24, "attention_bias": True}),
    ("gemma", {}),
    ("gemma2", {}),
    ("gemma3_text", {}),
    ("phi3", {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}),
    ("phi", {}),
    ("phi", {"qk_layernorm": True, "tie_word_embeddings": True}),
    ("mixtral", {"num_local_experts": 4}),
    ("qwen3_moe", {**MOE, "mlp_only_layers": [1]}),
    ("qwen3_moe", {**MOE, "decoder_sparse_step": 2}),
    ("qwen2_moe", {**MOE, "shared_expert_intermediate_size": 48}),
]


def on_meta(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def trained(model: Any, **settings: Any) -> int:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(model, LoraConfig(**settings))
    return sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


@pytest.mark.parametrize(("family", "more"), VARIANTS, ids=[f"{f}-{len(m)}" for f, m in VARIANTS])
def test_small_models(family: str, more: dict[str, Any]) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(family, **{**SMALL, **more})
    model = on_meta(config)
    ours = read_architecture(json.loads(config.to_json_string()))
    assert ours.parameters == sum(p.numel() for p in model.parameters())
    adapter = LoraAdapter(kind="lora", r=4)
    assert lora_parameters(ours, adapter) == trained(model, r=4, target_modules="all-linear")


@pytest.mark.parametrize("name", ["llama-3.2-1b", "qwen2.5-0.5b", "mistral-7b", "gemma-2-2b"])
def test_real_shapes(name: str) -> None:
    from transformers import AutoConfig

    told = json.loads((CONFIGS / f"{name}.json").read_text())
    model = on_meta(AutoConfig.for_model(**told))
    ours = read_architecture(told)
    assert ours.parameters == sum(p.numel() for p in model.parameters())
    adapter = LoraAdapter(kind="lora", r=16)
    assert lora_parameters(ours, adapter) == trained(model, r=16, target_modules="all-linear")


@pytest.mark.parametrize(
    "targets", [["q_proj", "v_proj"], ["mlp.down_proj"], r".*\.[02]\..*(q|up)_proj", ["lm_head"]]
)
@pytest.mark.parametrize("dora", [False, True])
def test_targets_as_peft_reads_them(targets: list[str] | str, dora: bool) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model("llama", **SMALL)
    if dora:  # DoRA norms weights: they must be there
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(config)
    else:
        model = on_meta(config)
    chosen = targets if isinstance(targets, str) else tuple(targets)
    adapter = LoraAdapter(kind="lora", r=8, target_modules=chosen, dora=dora)
    ours = read_architecture(json.loads(config.to_json_string()))
    found = trained(model, r=8, target_modules=targets, use_dora=dora)
    assert lora_parameters(ours, adapter) == found
