"""What the forward pass keeps for the backward pass, for each token.

The method is Korthikanti et al. 2022 ("Reducing Activation Recomputation in Large Transformer
Models", section 4.1): go through a block and add up what each operation saves. Their 34 s b h is of
a GPT block with dropout that trains every weight; here the operations are those of transformers'
decoder blocks, and a frozen linear layer saves nothing, since no gradient of its weight is needed.
"""

from dataclasses import dataclass

from tuneforge_specs.train import LoraAdapter

from tuneforge.fit.adapters import adapted
from tuneforge.fit.architecture import Architecture, Linear

FLOAT = 4


@dataclass(frozen=True)
class Precision:
    """How the forward pass computes.

    ``compute``: bytes of a value; ``autocast``: torch.autocast is on; ``drop_mask``: bytes of a
    value of a dropout mask (boolean on CUDA, as the input on the CPU).
    """

    compute: int
    autocast: bool
    drop_mask: int


def block_bytes(
    architecture: Architecture, adapter: LoraAdapter | None, precision: Precision
) -> float:
    """Give the bytes that an average block keeps for one token; ``adapter`` None trains all."""
    kept = _norms(architecture, precision, full=adapter is None)
    kept += _attention(architecture, precision)
    kept += _feed_forward(architecture, precision)
    if adapter is None:
        kept += precision.compute * _full_inputs(architecture)
    else:
        kept += _adapter_inputs(architecture, adapter, precision)
    return kept


def _norms(architecture: Architecture, precision: Precision, *, full: bool) -> float:
    """Each RMS norm squares and scales a 32-bit copy of its input, and keeps that copy.

    Where its weight trains, the normalised input in compute precision is kept too.
    """
    width = architecture.norms_per_block * architecture.hidden
    if architecture.qk_norm:
        width += (architecture.heads + architecture.kv_heads) * architecture.head_dim
    return width * (FLOAT + (precision.compute if full else 0))


def _attention(architecture: Architecture, precision: Precision) -> float:
    """Scaled dot-product attention keeps q, k, v, its output and a log-sum-exp for each head.

    Nothing grows with the square of the length: the kernels compute scores again (Dao et al. 2022,
    FlashAttention). With a mask, transformers repeats k and v to every head before.
    """
    queries = architecture.heads * architecture.head_dim
    return precision.compute * 4 * queries + FLOAT * architecture.heads


def _feed_forward(architecture: Architecture, precision: Precision) -> float:
    """A gated layer keeps the gate before and after its activation and the up projection.

    A plain one keeps what its activation needs. Each expert that a token visits counts.
    """
    if architecture.active_experts:
        width = architecture.active_experts * architecture.expert_width
        return precision.compute * (4 * width + architecture.active_experts * architecture.hidden)
    return precision.compute * architecture.activation_copies * architecture.intermediate


def _full_inputs(architecture: Architecture) -> float:
    """Give the width of all inputs of linear layers; q, k, v share one, gate and up another."""
    attention = architecture.hidden + architecture.heads * architecture.head_dim
    return attention + architecture.hidden + architecture.intermediate


def _adapter_inputs(
    architecture: Architecture, adapter: LoraAdapter, precision: Precision
) -> float:
    """Each adapted layer keeps the input of its A and that of its B.

    Its weights are 32-bit (PEFT), so a 16-bit input is cast for it: to 32 bits, or under autocast
    to 16 again, a copy of its own either way. A 32-bit input is one tensor for all that read it.
    Dropout keeps its mask and a dropped copy.
    """
    targets = adapted(architecture, adapter)
    shared = precision.compute == FLOAT and adapter.dropout == 0
    size = precision.compute if precision.autocast else FLOAT
    widths = _distinct_inputs(targets) if shared else sum(linear.inputs for linear in targets)
    kept = widths * size + len(targets) * adapter.r * size
    if adapter.dropout:
        kept += sum(linear.inputs for linear in targets) * precision.drop_mask
    return kept / architecture.layers


def _distinct_inputs(targets: tuple[Linear, ...]) -> int:
    """Add up input widths, those of q, k, v once for a block, those of gate and up too."""
    readers = {
        "q_proj": "qkv",
        "k_proj": "qkv",
        "v_proj": "qkv",
        "gate_proj": "mlp",
        "up_proj": "mlp",
    }
    total, last = 0, ""
    for linear in targets:
        name = linear.path.rsplit(".", 1)[-1]
        group = readers.get(name, name)
        total += 0 if group == last else linear.inputs
        last = group
    return total
