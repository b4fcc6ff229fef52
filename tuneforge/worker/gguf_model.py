"""A GGUF file as a transformers model (loads torch and transformers).

transformers maps part of GGUF's metadata only. What it leaves at a class default, although the file
says otherwise, is completed here from the file, so that the model computes what the file declares.
"""

from pathlib import Path
from typing import Any

Metadata = dict[str, Any]


def read_metadata(path: Path) -> Metadata:
    """Return every key of a GGUF file as plain Python values."""
    from gguf import GGUFReader

    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


def load(path: Path, dtype: Any) -> Any:
    """Load the file's model for inference on the CPU."""
    from transformers import AutoConfig, AutoModelForCausalLM

    metadata = read_metadata(path)
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    complete(config, metadata, path)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, config=config, dtype=dtype
    )
    _scale_frequencies(model, path)
    return model.eval()


def complete(config: Any, metadata: Metadata, path: Path) -> None:
    """Set on ``config`` what the file declares and transformers' reader does not map."""
    architecture = metadata["general.architecture"]

    def declared(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        setattr(config, f"{name}_token_id", metadata.get(f"tokenizer.ggml.{key}_token_id"))
    if declared("attention.key_length"):
        config.head_dim = declared("attention.key_length")
    for key, name in (
        ("attention.sliding_window", "sliding_window"),
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ):
        if declared(key) is not None:
            setattr(config, name, declared(key) or None)
    if architecture.startswith("gemma"):
        config.query_pre_attn_scalar = config.head_dim
        config.hidden_activation = "gelu_pytorch_tanh"
    config.rope_parameters = _rope(config, architecture, declared, path)


def _rope(config: Any, architecture: str, declared: Any, path: Path) -> dict[str, Any]:
    theta = declared("rope.freq_base")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    scaling = declared("rope.scaling.type")
    if scaling in ("linear", "yarn"):
        rope |= {"rope_type": scaling, "factor": declared("rope.scaling.factor")}
    if scaling == "yarn":
        original = declared("rope.scaling.original_context_length")
        rope["original_max_position_embeddings"] = original
        for key in ("beta_fast", "beta_slow"):
            if declared(f"rope.scaling.yarn_{key}") is not None:
                rope[key] = declared(f"rope.scaling.yarn_{key}")
    if architecture == "phi3":
        rope["partial_rotary_factor"] = declared("rope.dimension_count") / config.head_dim
        original = declared("rope.scaling.original_context_length")
        rope["original_max_position_embeddings"] = original
        config.original_max_position_embeddings = original
        factors = _tensors(path, "rope_factors_")
        if factors:
            rope["rope_type"] = "longrope"
            rope["long_factor"] = factors["rope_factors_long.weight"]
            rope["short_factor"] = factors["rope_factors_short.weight"]
            rope["attention_factor"] = declared("rope.scaling.attn_factor")
    if architecture == "gemma3":
        local = {"rope_type": "default", "rope_theta": declared("rope.freq_base_swa")}
        return {"full_attention": rope, "sliding_attention": local}
    return rope


def _tensors(path: Path, prefix: str) -> dict[str, list[float]]:
    from gguf import GGUFReader

    found = (tensor for tensor in GGUFReader(path).tensors if tensor.name.startswith(prefix))
    return {tensor.name: tensor.data.tolist() for tensor in found}


def _scale_frequencies(model: Any, path: Path) -> None:
    """Divide the rotary frequencies by `rope_freqs.weight`, as llama.cpp does (Llama 3.1)."""
    import torch

    factors = _tensors(path, "rope_freqs.").get("rope_freqs.weight")
    if factors:
        rotary = model.model.rotary_emb
        rotary.inv_freq = rotary.inv_freq / torch.tensor(factors)
        rotary.original_inv_freq = rotary.inv_freq
