"""Adapters trained on an NF4 base, merged onto the weights they trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.merge import AdapterInput, LoraMerge

from tuneforge.merge.base import is_quantised
from tuneforge.merge.execute import merge_into
from tuneforge.merge.resolve import input_folder
from tuneforge.weights import open_weights


def test_which_tensors_nf4_covers() -> None:
    assert is_quantised("model.layers.0.mlp.up_proj.weight", (8, 8))
    for name in ("lm_head.weight", "model.embed_tokens.weight", "transformer.wte.weight"):
        assert not is_quantised(name, (8, 8))
    assert not is_quantised("model.layers.0.mlp.up_proj.bias", (8,))
    assert not is_quantised("model.layers.0.input_layernorm.weight", (8,))


@pytest.mark.train
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_the_merge_is_peft_on_the_dequantised_base(tmp_path: Path, compute: str) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        BitsAndBytesConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=150, tie_word_embeddings=True,
    )  # fmt: skip
    kind = getattr(torch, compute)
    LlamaForCausalLM(config).to(kind).save_pretrained(tmp_path / "base")
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=kind,
    )  # fmt: skip
    quantised = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", dtype=kind, quantization_config=nf4, device_map={"": "cpu"}
    )
    peft = get_peft_model(quantised, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.05)
    peft.save_pretrained(tmp_path / "train" / "adapter")
    facts: dict[str, Any] = {"base": {"digest": "", "quantize": "nf4", "dtype": compute}}
    (tmp_path / "train" / "training.json").write_text(json.dumps(facts))
    # What the adapter saw: PEFT on a plain model that holds the dequantised weights.
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=kind)
    dequantised = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", dtype=kind, quantization_config=nf4, device_map={"": "cpu"}
    ).dequantize()
    plain.load_state_dict(dequantised.state_dict())
    merged = PeftModel.from_pretrained(plain, tmp_path / "train" / "adapter").merge_and_unload()
    merged.save_pretrained(tmp_path / "peft")
    entry = AdapterInput(adapter="adapter")
    report = merge_into(
        tmp_path / "ours",
        base=tmp_path / "base",
        base_facts={},
        base_dtype="auto",
        spec=LoraMerge(method="lora", inputs=(entry,)),
        inputs=[input_folder(entry, tmp_path / "train" / "adapter")],
        seed=0,
        threads=2,
        progress=lambda done, total: None,
    )
    assert report["onto"] == "dequantised"
    ours, theirs = open_weights(tmp_path / "ours"), open_weights(tmp_path / "peft")
    assert set(ours) == set(theirs)
    assert [n for n in ours if ours.read(n).tobytes() != theirs.read(n).tobytes()] == []
