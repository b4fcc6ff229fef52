"""LoRA merges against PEFT's merge_and_unload: every element of every tensor, bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import AdapterInput, LoraMerge

from tuneforge.merge.execute import merge_into
from tuneforge.merge.resolve import InputFolder
from tuneforge.weights import open_weights

pytestmark = pytest.mark.train


def tiny_llama(tied: bool = False) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=150, attention_bias=True, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def tiny_gpt2() -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=150))


def make(folder: Path, model: Any, base_dtype: str, adapter_dtype: str, **lora: Any) -> None:
    """Save a base and a LoRA with random factors (PEFT starts with B = 0)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    model = model.to(getattr(torch, base_dtype)).eval()
    model.save_pretrained(folder / "base")
    defaults: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
    peft = get_peft_model(model, LoraConfig(**defaults | lora))
    torch.manual_seed(1)
    for name, parameter in peft.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            parameter.data.normal_(0, 0.05)
        elif parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.02)
    peft.save_pretrained(folder / "adapter")
    file = folder / "adapter" / "adapter_model.safetensors"
    tensors = {k: v.to(getattr(torch, adapter_dtype)) for k, v in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def by_peft(folder: Path, base_dtype: str, adapters: tuple[str, ...] = ("adapter",)) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=getattr(torch, base_dtype))
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, folder / adapter).merge_and_unload()
    model.save_pretrained(folder / "peft")


def by_us(folder: Path, adapters: tuple[str, ...] = ("adapter",), **spec: Any) -> dict[str, Any]:
    inputs = [AdapterInput(adapter=str(folder / name)) for name in adapters]
    return merge_into(
        folder / "ours",
        base=folder / "base",
        base_facts={},
        base_dtype="auto",
        spec=LoraMerge(method="lora", inputs=tuple(inputs), **spec),
        inputs=[InputFolder(name, folder / name, True, {}) for name in adapters],
        seed=0,
        threads=2,
        progress=lambda done, total: None,
    )


def assert_equal(folder: Path) -> None:
    ours, theirs = open_weights(folder / "ours"), open_weights(folder / "peft")
    assert set(ours) == set(theirs)
    different = [
        name for name in theirs if ours.read(name).tobytes() != theirs.read(name).tobytes()
    ]
    assert [ours[name].dtype for name in ours] == [theirs[name].dtype for name in ours]
    assert different == []


@pytest.mark.parametrize("adapter_dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16", "float16"])
def test_dtypes(tmp_path: Path, base_dtype: str, adapter_dtype: str) -> None:
    make(tmp_path, tiny_llama(), base_dtype, adapter_dtype)
    by_peft(tmp_path, base_dtype)
    report = by_us(tmp_path)
    assert_equal(tmp_path)
    assert report["changed"] > 0


VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {
        "rank_pattern": {"q_proj": 4, r"layers\.1\.mlp\.up_proj": 16},
        "alpha_pattern": {"down_proj": 3, "layers.0.self_attn.o_proj": 40},
    },
    "bias of lora": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "biases": {"bias": "all", "target_modules": ["q_proj", "k_proj"]},
    "own biases": {"bias": "lora_only", "target_modules": ["q_proj", "k_proj"]},
    "saved head": {"modules_to_save": ["lm_head"]},
    "saved norm": {"modules_to_save": ["norm"], "target_modules": ["q_proj"]},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "dora embeddings": {"target_modules": ["embed_tokens", "q_proj"], "use_dora": True},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "rank 200": {"r": 200, "target_modules": ["gate_proj"]},
    "rank 1": {"r": 1},
}


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(tmp_path: Path, variant: str, base_dtype: str) -> None:
    make(tmp_path, tiny_llama(), base_dtype, "float32", **VARIANTS[variant])
    by_peft(tmp_path, base_dtype)
    by_us(tmp_path)
    assert_equal(tmp_path)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_tied_embeddings(tmp_path: Path, target: str) -> None:
    make(tmp_path, tiny_llama(tied=True), "bfloat16", "float32", target_modules=[target, "q_proj"])
    by_peft(tmp_path, "bfloat16")
    by_us(tmp_path)
    assert_equal(tmp_path)


@pytest.mark.parametrize("dora", [False, True])
def test_transposed_weights(tmp_path: Path, dora: bool) -> None:
    make(
        tmp_path, tiny_gpt2(), "float32", "float32", use_dora=dora, fan_in_fan_out=True,
        target_modules=["c_attn", "c_proj", "c_fc"],
    )  # fmt: skip
    by_peft(tmp_path, "float32")
    by_us(tmp_path)
    assert_equal(tmp_path)


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_in_turn(tmp_path: Path, dora: bool) -> None:
    make(tmp_path, tiny_llama(), "bfloat16", "float32", use_dora=dora)
    (tmp_path / "adapter").rename(tmp_path / "first")
    make(tmp_path, tiny_llama(), "bfloat16", "float32", r=4, target_modules=["q_proj", "up_proj"])
    by_peft(tmp_path, "bfloat16", ("first", "adapter"))
    by_us(tmp_path, ("first", "adapter"))
    assert_equal(tmp_path)


def test_a_head_saved_apart_from_a_tied_embedding_is_untied(tmp_path: Path) -> None:
    make(tmp_path, tiny_llama(tied=True), "float32", "float32", modules_to_save=["lm_head"])
    by_us(tmp_path)
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    ours, adapter = (
        open_weights(tmp_path / "ours"),
        open_weights(tmp_path / "adapter", "adapter_model"),
    )
    key = "base_model.model.lm_head.weight"
    assert ours.read("lm_head.weight").tobytes() == adapter.read(key).tobytes()


def test_output_is_the_same_on_any_number_of_threads_and_shards(tmp_path: Path) -> None:
    make(tmp_path, tiny_llama(), "bfloat16", "float32", use_dora=True)
    by_us(tmp_path)
    (tmp_path / "ours").rename(tmp_path / "peft")
    by_us(tmp_path, shard_size="0.1MB")
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 1
    assert_equal(tmp_path)


def test_zero_factors_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    make(tmp_path, tiny_llama(), "float32", "float32")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({k: torch.zeros_like(v) if "lora_B" in k else v for k, v in tensors.items()}, file)
    with pytest.raises(DataError, match="never trained"):
        by_us(tmp_path)
    assert not (tmp_path / "ours").exists()
