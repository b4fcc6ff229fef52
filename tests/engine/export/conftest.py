"""Tiny model folders, made without torch: random weights, a trained tokenizer, a template."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "The router's status light blinks, isn't it? I'll restart it at 12:45.",
    '{"product": "router", "urgency": 3}\ndef f(x):\n    return x + 1\n',
    "naïve café — “quotes” Привет 你好 😀",
] * 20


def byte_level_tokenizer(vocabulary: int = 400) -> dict[str, Any]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return dict(json.loads(tokenizer.to_str()))


def sentencepiece_tokenizer(vocabulary: int = 500) -> dict[str, Any]:
    """A tokenizer.json as transformers makes it from a SentencePiece BPE model (Llama 2)."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trained.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<unk>"], show_progress=False),
    )
    learned = json.loads(trained.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = [piece for piece in learned["vocab"] if piece not in first]
    vocab = {token: index for index, token in enumerate([*first, *pieces])}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, token in enumerate(["<unk>", "<s>", "</s>"])
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": learned["merges"],
        },
    }


def llama_config(vocabulary: int, **changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
        "bos_token_id": None,
        "pad_token_id": 0,
    } | changes


def llama_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    hidden, ffn, width = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * width, config["num_key_value_heads"] * width

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * 0.1).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden)}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(config["vocab_size"], hidden)
    tensors["model.norm.weight"] = 1 + matrix(1, hidden)[0]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{name}.weight"] = 1 + matrix(1, hidden)[0]
        tensors[f"{at}self_attn.q_proj.weight"] = matrix(queries, hidden)
        tensors[f"{at}self_attn.k_proj.weight"] = matrix(keys, hidden)
        tensors[f"{at}self_attn.v_proj.weight"] = matrix(keys, hidden)
        tensors[f"{at}self_attn.o_proj.weight"] = matrix(hidden, queries)
        tensors[f"{at}mlp.gate_proj.weight"] = matrix(ffn, hidden)
        tensors[f"{at}mlp.up_proj.weight"] = matrix(ffn, hidden)
        tensors[f"{at}mlp.down_proj.weight"] = matrix(hidden, ffn)
    return tensors


@dataclass(frozen=True)
class Tiny:
    """How a tiny model folder is made; `changes` go into config.json."""

    folder: Path

    def write(
        self,
        *,
        tokenizer: dict[str, Any] | None = None,
        tokenizer_config: dict[str, Any] | None = None,
        template: str = CHATML,
        dtype: str = "float32",
        **changes: Any,
    ) -> Path:
        tokenizer = tokenizer or byte_level_tokenizer()
        rows = max(
            [*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"])]
        )
        config = llama_config(rows + 1, **changes)
        self.folder.mkdir(parents=True, exist_ok=True)
        kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
        tensors = {name: t.astype(kind) for name, t in llama_tensors(config).items()}
        save_file(tensors, self.folder / "model.safetensors", metadata={"format": "pt"})
        self._json("config.json", config)
        self._json("tokenizer.json", tokenizer)
        defaults = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
        }
        self._json(
            "tokenizer_config.json", defaults if tokenizer_config is None else tokenizer_config
        )
        self._json("generation_config.json", {"eos_token_id": config["eos_token_id"]})
        if template:
            (self.folder / "chat_template.jinja").write_text(template, "utf-8")
        return self.folder

    def _json(self, name: str, values: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(values, ensure_ascii=False), "utf-8")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Makes a tiny Llama; every keyword of `write` changes its config."""
    return Tiny(tmp_path / "tiny")


@pytest.fixture(scope="session")
def sentencepiece() -> dict[str, Any]:
    return sentencepiece_tokenizer()


@pytest.fixture(scope="session")
def byte_level() -> dict[str, Any]:
    return byte_level_tokenizer()


@pytest.fixture
def write_gguf_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model folder as one GGUF file."""

    def write(folder: Path, kind: str = "f32", terminators: tuple[int, ...] = ()) -> Path:
        from tuneforge.export.gguf.export import plan_gguf
        from tuneforge.export.gguf.writer import write_gguf
        from tuneforge.weights import open_weights

        path = tmp_path / f"tiny-{kind}.gguf"
        with open_weights(folder) as weights:
            plan = plan_gguf(folder, weights, kind, "tiny", terminators)
            write_gguf(path, plan.content, weights)
        return path

    return write


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, done: float, total: float, unit: str = "") -> None:
        self.last = (done, total, unit)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(message)

    def metrics(self, values: Any) -> None:
        self.values = values


@pytest.fixture
def reporter() -> Silent:
    return Silent()
