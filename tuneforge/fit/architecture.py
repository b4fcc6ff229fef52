"""The weights of a decoder-only transformer, told from its ``config.json`` alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import UsageError


class UnknownArchitecture(UsageError):
    """The config is not of a family whose weights can be told from it."""


@dataclass(frozen=True)
class Linear:
    """One linear layer: ``path`` below its block (``self_attn.q_proj``) or the head's own name."""

    path: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Give the number of weights without the bias."""
        return self.inputs * self.outputs

    @property
    def biases(self) -> int:
        """Give the number of bias values."""
        return self.outputs if self.bias else 0


@dataclass(frozen=True)
class Block:
    """One transformer block. Experts are stacked tensors, no linear layers (transformers 5)."""

    linears: tuple[Linear, ...]
    norms: int
    experts: int = 0


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model.

    ``activation_copies`` counts tensors of the feed-forward's width that its activation keeps for
    the backward pass; ``assumed`` says what was taken for granted.
    """

    family: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    blocks: tuple[Block, ...]
    head: Linear
    final_norm: int
    norms_per_block: int
    qk_norm: bool = False
    activation_copies: int = 3
    experts: int = 0
    active_experts: int = 0
    expert_width: int = 0
    assumed: str = ""

    @property
    def layers(self) -> int:
        """Give the number of blocks."""
        return len(self.blocks)

    @property
    def linear_weights(self) -> int:
        """Give the weights of all linear layers but the head: what 4-bit bases quantise."""
        return sum(linear.weights for block in self.blocks for linear in block.linears)

    @property
    def other_parameters(self) -> int:
        """Give every other parameter: embeddings, head, norms, biases, experts."""
        in_blocks = sum(
            block.norms + block.experts + sum(linear.biases for linear in block.linears)
            for block in self.blocks
        )
        head = self.head.biases + (0 if self.tied else self.head.weights)
        return in_blocks + self.vocab * self.hidden + head + self.final_norm

    @property
    def parameters(self) -> int:
        """Give all parameters, tied ones once."""
        return self.linear_weights + self.other_parameters


@dataclass(frozen=True)
class _Family:
    """What a model type's code fixes or its config class has as defaults (transformers 5.17)."""

    tied: bool = False
    head_dim: int = 0
    qkv_bias: bool = False
    attention_bias_key: bool = True
    norms: int = 2
    qk_norm: bool = False
    fused: bool = False


_FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(attention_bias_key=False),
    "mixtral": _Family(attention_bias_key=False),
    "qwen2": _Family(qkv_bias=True, attention_bias_key=False),
    "qwen2_moe": _Family(qkv_bias=True, attention_bias_key=False),
    "qwen3": _Family(head_dim=128, qk_norm=True),
    "qwen3_moe": _Family(qk_norm=True),
    "gemma": _Family(tied=True, head_dim=256),
    "gemma2": _Family(tied=True, head_dim=256, norms=4),
    "gemma3_text": _Family(tied=True, head_dim=256, norms=4, qk_norm=True),
    "phi3": _Family(fused=True, attention_bias_key=False),
    "phi": _Family(norms=1),
}
# Keys of families whose attention is not told by heads and head_dim.
_OTHER_ATTENTION = ("kv_lora_rank", "n_embd", "d_model", "ssm_cfg", "linear_num_key_heads")


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Tell a model's weights from its config. Raise ``UnknownArchitecture`` where that fails.

    A model type not known by name is read as Llama's, if its config has Llama's keys; ``assumed``
    says so. A multimodal config is read for its text part.
    """
    if isinstance(config.get("text_config"), Mapping):
        inner = dict(config["text_config"])
        inner.setdefault("model_type", f"{config.get('model_type', '')}_text")
        inner.setdefault("tie_word_embeddings", config.get("tie_word_embeddings", True))
        config = inner
    name = str(config.get("model_type", ""))
    strange = next((key for key in _OTHER_ATTENTION if config.get(key)), None)
    if strange is not None and name not in _FAMILIES:
        raise UnknownArchitecture(
            f"the memory of a {name or 'nameless'} model is not known: its config has `{strange}`",
            "plan without an estimate, and watch the first steps of the run",
        )
    family = _FAMILIES.get(name, _Family())
    assumed = "" if name in _FAMILIES else f"{name or 'this model'} is counted as if it were llama"
    return _phi(config) if name == "phi" else _llama_like(config, name, family, assumed)


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UnknownArchitecture(
            f"config.json has no usable `{key}` ({value!r})", "is it the config of a causal LM?"
        )
    return value


def _optional(config: Mapping[str, Any], key: str, default: int) -> int:
    return default if config.get(key) is None else _number(config, key)


def _llama_like(
    config: Mapping[str, Any], name: str, family: _Family, assumed: str
) -> Architecture:
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    kv_heads = _optional(config, "num_key_value_heads", heads)
    head_dim = _optional(config, "head_dim", family.head_dim or hidden // heads)
    vocab = _number(config, "vocab_size")
    attention = _attention(config, family, hidden, heads, kv_heads, head_dim)
    norms = family.norms * hidden + (2 * head_dim if family.qk_norm else 0)
    blocks = []
    for index in range(_number(config, "num_hidden_layers")):
        mlp, experts = _feed_forward(config, name, family, index)
        blocks.append(Block((*attention, *mlp), norms, experts))
    return Architecture(
        family=name or "llama",
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=_number(config, "intermediate_size"),
        vocab=vocab,
        tied=bool(config.get("tie_word_embeddings", family.tied)),
        blocks=tuple(blocks),
        head=Linear("lm_head", hidden, vocab),
        final_norm=hidden,
        norms_per_block=family.norms,
        qk_norm=family.qk_norm,
        experts=_experts(config),
        active_experts=int(config.get("num_experts_per_tok") or 0) if _experts(config) else 0,
        expert_width=_expert_width(config),
        assumed=assumed,
    )


def _attention(
    config: Mapping[str, Any], family: _Family, hidden: int, heads: int, kv_heads: int, dim: int
) -> tuple[Linear, ...]:
    declared = bool(config.get("attention_bias", False)) and family.attention_bias_key
    bias = family.qkv_bias or declared
    out = Linear("self_attn.o_proj", heads * dim, hidden, declared)
    if family.fused:
        return Linear("self_attn.qkv_proj", hidden, (heads + 2 * kv_heads) * dim, bias), out
    return (
        Linear("self_attn.q_proj", hidden, heads * dim, bias),
        Linear("self_attn.k_proj", hidden, kv_heads * dim, bias),
        Linear("self_attn.v_proj", hidden, kv_heads * dim, bias),
        out,
    )


def _feed_forward(
    config: Mapping[str, Any], name: str, family: _Family, index: int
) -> tuple[tuple[Linear, ...], int]:
    """Give a block's linear layers and the parameters of its experts and router."""
    hidden, width = _number(config, "hidden_size"), _number(config, "intermediate_size")
    experts = _experts(config)
    dense = index in (config.get("mlp_only_layers") or ())
    dense = dense or (index + 1) % int(config.get("decoder_sparse_step") or 1) != 0
    if experts and not dense:
        stacked = experts * 3 * hidden * _expert_width(config) + experts * hidden
        shared = int(config.get("shared_expert_intermediate_size") or 0)
        if name == "qwen2_moe" and shared:
            gate = Linear("mlp.shared_expert_gate", hidden, 1)
            return (*_gated("mlp.shared_expert", hidden, shared, bias=False), gate), stacked
        return (), stacked
    if family.fused:
        fused = Linear("mlp.gate_up_proj", hidden, 2 * width)
        return (fused, Linear("mlp.down_proj", width, hidden)), 0
    bias = bool(config.get("mlp_bias", False))
    return _gated("mlp", hidden, width, bias=bias), 0


def _gated(path: str, hidden: int, width: int, *, bias: bool) -> tuple[Linear, ...]:
    return (
        Linear(f"{path}.gate_proj", hidden, width, bias),
        Linear(f"{path}.up_proj", hidden, width, bias),
        Linear(f"{path}.down_proj", width, hidden, bias),
    )


def _experts(config: Mapping[str, Any]) -> int:
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


def _expert_width(config: Mapping[str, Any]) -> int:
    if not _experts(config):
        return 0
    return int(config.get("moe_intermediate_size") or _number(config, "intermediate_size"))


def _phi(config: Mapping[str, Any]) -> Architecture:
    """Phi 1 and 2: one layer norm a block, a plain feed-forward, biases everywhere."""
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    kv_heads, head_dim = _optional(config, "num_key_value_heads", heads), hidden // heads
    width, vocab = _number(config, "intermediate_size"), _number(config, "vocab_size")
    linears = (
        Linear("self_attn.q_proj", hidden, heads * head_dim, bias=True),
        Linear("self_attn.k_proj", hidden, kv_heads * head_dim, bias=True),
        Linear("self_attn.v_proj", hidden, kv_heads * head_dim, bias=True),
        Linear("self_attn.dense", heads * head_dim, hidden, bias=True),
        Linear("mlp.fc1", hidden, width, bias=True),
        Linear("mlp.fc2", width, hidden, bias=True),
    )
    qk_norm = bool(config.get("qk_layernorm", False))
    norms = 2 * hidden + (4 * head_dim if qk_norm else 0)
    layers = _number(config, "num_hidden_layers")
    return Architecture(
        family="phi",
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=width,
        vocab=vocab,
        tied=bool(config.get("tie_word_embeddings", False)),
        blocks=(Block(linears, norms),) * layers,
        head=Linear("lm_head", hidden, vocab, bias=True),
        final_norm=2 * hidden,
        norms_per_block=1,
        qk_norm=qk_norm,
        # gelu_new is written out: its cube, tanh and two factors; other kinds keep their input
        activation_copies=4 if config.get("hidden_act", "gelu_new") == "gelu_new" else 1,
    )
