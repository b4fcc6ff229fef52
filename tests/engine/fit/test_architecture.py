"""Parameter counts against those the models' publishers give, without torch."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.train import LoraAdapter

from tuneforge.fit.adapters import adapted, lora_parameters
from tuneforge.fit.architecture import UnknownArchitecture, read_architecture

CONFIGS = Path(__file__).parent / "configs"
TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 500,
    "num_hidden_layers": 3,
}


# The totals that the hub shows for each model's safetensors.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-3.1-8b", 8_030_261_248),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen3-4b", 4_022_468_096),
        ("mistral-7b", 7_241_732_096),
        ("gemma-2-2b", 2_614_341_888),
        ("phi-3-mini", 3_821_079_552),
        ("phi-2", 2_779_683_840),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen3-30b-a3b", 30_532_122_624),
    ],
)
def test_published_counts(name: str, parameters: int) -> None:
    model = read_architecture(json.loads((CONFIGS / f"{name}.json").read_text()))
    assert model.parameters == parameters
    assert not model.assumed


def test_lora_of_llama_by_hand() -> None:
    model = read_architecture(TINY)
    q = LoraAdapter(kind="lora", r=4, target_modules=("q_proj",))
    assert lora_parameters(model, q) == 3 * 4 * (64 + 64)
    dora = q.model_copy(update={"dora": True})
    assert lora_parameters(model, dora) == 3 * (4 * (64 + 64) + 64)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("all-linear", 21),
        (("q_proj", "v_proj"), 6),
        (("self_attn.q_proj",), 3),
        (("proj",), 0),
        (r".*\.1\..*_proj", 7),
        (r".*q_proj", 3),
        (("lm_head",), 1),
    ],
)
def test_targets(targets: str | tuple[str, ...], layers: int) -> None:
    adapter = LoraAdapter(kind="lora", target_modules=targets)
    assert len(adapted(read_architecture(TINY), adapter)) == layers


def test_an_unknown_family_is_read_as_llama_and_says_so() -> None:
    model = read_architecture({**TINY, "model_type": "newcomer"})
    assert model.parameters == read_architecture(TINY).parameters
    assert "newcomer" in model.assumed


def test_a_multimodal_config_is_read_for_its_text() -> None:
    text = {**TINY, "model_type": "gemma3_text", "head_dim": 16}
    whole = read_architecture({"model_type": "gemma3", "text_config": text})
    assert whole.family == "gemma3_text"
    assert whole.tied


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, "no usable `hidden_size`"),
        ({"vocab_size": "many"}, "no usable `vocab_size`"),
        ({"num_hidden_layers": 0}, "no usable `num_hidden_layers`"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "its config has `kv_lora_rank`"),
        ({"model_type": "gpt2", "n_embd": 768}, "gpt2"),
    ],
)
def test_what_cannot_be_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownArchitecture, match=words) as caught:
        read_architecture({**TINY, **change})
    assert caught.value.fix
    assert caught.value.exit_code == 2
