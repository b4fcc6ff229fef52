"""Every architecture, from a tiny random model, against transformers' logits on the source."""

import json
from pathlib import Path
from typing import Any

import pytest

from tuneforge.export.gguf.architectures import gemma2, llama
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.gguf import Subject, verify_gguf
from tuneforge.weights import open_weights

pytestmark = pytest.mark.train

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "eos_token_id": 2,
    "bos_token_id": None,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.1 * n for n in range(8)],
    "long_factor": [2.0 + 0.3 * n for n in range(8)],
    # llama.cpp takes the long factors when its context, at least 256, exceeds this.
    "original_max_position_embeddings": 512,
}
LONG_CONTEXT = {
    "rope_parameters": LONGROPE,
    "original_max_position_embeddings": 512,
    "max_position_embeddings": 2048,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}
MODELS = {
    "llama": ("LlamaForCausalLM", {}),
    "llama-tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "llama-3.1": ("LlamaForCausalLM", {"rope_parameters": LLAMA3}),
    "llama-wide-heads": ("LlamaForCausalLM", {"head_dim": 32}),
    "llama-linear": (
        "LlamaForCausalLM",
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    ),
    "mistral": ("MistralForCausalLM", {"sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", {}),
    "qwen2-tied-yarn": (
        "Qwen2ForCausalLM",
        {"tie_word_embeddings": True, "rope_parameters": YARN},
    ),
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 32}),
    "phi3": ("Phi3ForCausalLM", {}),
    "phi3-longrope": (
        "Phi3ForCausalLM",
        LONG_CONTEXT,
    ),
    "gemma2": ("Gemma2ForCausalLM", GEMMA),
    "gemma3": ("Gemma3ForCausalLM", GEMMA | {"num_hidden_layers": 6}),
}


def make(folder: Path, name: str, tokenizer: dict[str, Any]) -> Path:
    """Save a random model whose biases and norms are random, too: zeros would hide mistakes."""
    import torch
    import transformers

    kind, changes = MODELS[name]
    torch.manual_seed(0)
    size = len(tokenizer["model"]["vocab"])
    model_class = getattr(transformers, kind)
    config = model_class.config_class(**COMMON | {"vocab_size": size} | changes)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    return folder


def probe(job: dict[str, Any]) -> dict[str, Any]:
    from tuneforge.worker.probe import Questions, measure

    files = [Path(file) for file in job["files"]]
    return measure(Path(job["source"]), files, Questions(**job["questions"]))


def verified(folder: Path, files: dict[str, Path]):
    with open_weights(folder) as weights:
        subject = Subject(files, ModelFolder(folder), weights, (2,))
        return verify_gguf(subject, probe)


@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_the_source(tmp_path, write_gguf_file, byte_level, sentencepiece, name):
    pieces = name.startswith(("phi3", "gemma", "mistral"))
    folder = make(tmp_path / "model", name, sentencepiece if pieces else byte_level)
    report = verified(folder, {kind: write_gguf_file(folder, kind) for kind in ("f32", "q8_0")})
    assert not report.failed, [f"{c.file} {c.name}: {c.detail}" for c in report.failed]
    assert report.measured["tiny-f32.gguf"]["relative_error"] < 1e-4
    assert report.measured["tiny-f32.gguf"]["top1"] > 0.99
    assert report.measured["tiny-q8_0.gguf"]["relative_error"] > 1e-4


def test_a_wrong_permutation_shows_in_the_logits(
    tmp_path, write_gguf_file, byte_level, monkeypatch
):
    monkeypatch.setattr(llama, "interleave_halves", lambda rows, _width: rows)
    folder = make(tmp_path / "model", "llama", byte_level)
    report = verified(folder, {"f32": write_gguf_file(folder)})
    assert {check.name for check in report.failed} >= {"weights", "logits"}
    assert report.measured["tiny-f32.gguf"]["relative_error"] > 0.1


def test_a_wrong_norm_shows_in_the_logits(tmp_path, write_gguf_file, sentencepiece, monkeypatch):
    monkeypatch.setattr(gemma2, "add_one", lambda rows: rows)
    folder = make(tmp_path / "model", "gemma2", sentencepiece)
    report = verified(folder, {"f32": write_gguf_file(folder)})
    assert {check.name for check in report.failed} >= {"weights", "logits"}


def test_transformers_tokenizer_is_held_to_account_where_it_is_faithful(
    tmp_path, write_gguf_file, byte_level
):
    folder = make(tmp_path / "model", "llama", byte_level)
    report = verified(folder, {"f32": write_gguf_file(folder)})
    readers = {check.reader for check in report.checks if check.name == "token ids"}
    assert readers == {"llama.cpp's tokenizer, replayed", "transformers"}
    assert not report.notes
    assert not report.unverified
