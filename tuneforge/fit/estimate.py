"""The peak memory of a train step, from its model's config alone, each part by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tuneforge_specs.base import BaseCommon
from tuneforge_specs.train import FullAdapter, LoraAdapter, Train

from tuneforge.fit.activations import FLOAT, Precision, block_bytes
from tuneforge.fit.adapters import trained_tensors
from tuneforge.fit.architecture import Architecture, read_architecture

Kind = Literal["cuda", "cpu"]

# NF4 (Dettmers et al. 2023, QLoRA, section 3): 4 bits a weight, an 8-bit constant for each block of
# 64, and 32 bits for each 256 of those constants: 0.127 bits a weight.
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# bitsandbytes keeps two 8-bit moments with a 32-bit constant for each block of 256, and 32-bit
# moments for tensors below 4096 values.
_ADAM_8BIT_BYTES, _ADAM_8BIT_SMALLEST = 2 * (1 + 4 / 256), 4096
# A CUDA context with torch's kernels and cuBLAS workspaces.
CUDA_CONTEXT = 700 * 2**20
# Python with torch, transformers, TRL and PEFT loaded (resident memory of the worker).
CPU_LIBRARIES = 640 * 2**20
# Blocks that the allocator holds and cannot use: a share of what comes and goes.
_SLACK = 0.08


@dataclass(frozen=True)
class Request:
    """What an estimate is of: a train step on a base, on one kind of device."""

    config: Mapping[str, Any]
    train: Train
    base: BaseCommon
    max_tokens: int
    device: Kind


@dataclass(frozen=True)
class Estimate:
    """Peak memory in bytes by named part; ``allocated`` leaves out context, libraries and slack.

    ``assumed`` says what was taken for granted, empty where nothing was.
    """

    terms: dict[str, int]
    request: Request = field(repr=False)
    assumed: str = ""

    @property
    def total(self) -> int:
        """Give the sum of all parts."""
        return sum(self.terms.values())

    @property
    def allocated(self) -> int:
        """Give what tensors take: what torch's own peak counter is compared with."""
        outside = ("context and libraries", "allocator slack")
        return sum(size for name, size in self.terms.items() if name not in outside)

    def again(self, train: Train, base: BaseCommon) -> "Estimate":
        """Estimate the same with other settings."""
        request = replace(self.request, train=train, base=base)
        return estimate(request.config, train, base, request.max_tokens, device=request.device)


def estimate(
    config: Mapping[str, Any],
    train: Train,
    base: BaseCommon,
    max_tokens: int,
    *,
    device: Kind = "cuda",
) -> Estimate:
    """Estimate the peak memory of ``train`` for rows of ``max_tokens`` tokens.

    ``config`` is the parsed config.json. Raise ``UnknownArchitecture`` where it says too little.
    """
    model = read_architecture(config)
    request = Request(config, train, base, max_tokens, device)
    step = _Step(model, request)
    terms = {
        "base weights": step.weights(),
        "adapter weights": step.adapter_weights(),
        "optimizer state": step.optimizer(),
        "activations": step.activations(),
        "attention mask": step.mask(),
        "logits and loss": step.loss(),
    }
    terms["recomputed block"] = max(0, step.backward_of_block() - terms["logits and loss"])
    terms["gradients"] = step.gradients()
    terms["dequantised weights"] = step.dequantised()
    moving = sum(terms.values()) - terms["base weights"]
    terms["allocator slack"] = int(_SLACK * moving)
    terms["context and libraries"] = CUDA_CONTEXT if device == "cuda" else CPU_LIBRARIES
    return Estimate(
        {name: int(size) for name, size in terms.items() if size}, request, model.assumed
    )


def compute_dtype(base: BaseCommon, device: Kind) -> str:
    """Give the number format that ``auto`` stands for."""
    if base.dtype != "auto":
        return base.dtype
    return "bfloat16" if device == "cuda" else "float32"


class _Step:
    """The parts of one request's memory, in bytes."""

    def __init__(self, model: Architecture, request: Request) -> None:
        self.model, self.request = model, request
        self.args = request.train.args
        adapter = request.train.adapter
        self.adapter = adapter if isinstance(adapter, LoraAdapter) else None
        dtype = compute_dtype(request.base, request.device)
        self.size = FLOAT if dtype == "float32" else 2
        cuda = request.device == "cuda"
        self.precision = Precision(self.size, cuda and self.size == 2, 1 if cuda else FLOAT)
        self.nf4 = request.base.quantize == "nf4" and not isinstance(adapter, FullAdapter)
        self.prefers = request.train.method == "dpo"
        # DPO runs chosen and rejected as one batch.
        self.rows = self.args.micro_batch * (2 if self.prefers else 1)
        self.tokens = self.rows * request.max_tokens

    def weights(self) -> float:
        linear = self.model.linear_weights * (_NF4_BYTES if self.nf4 else self.size)
        return linear + self.model.other_parameters * self.size

    def trained(self) -> Iterator[int]:
        """Give the size of each tensor that trains."""
        if self.adapter is not None:
            yield from trained_tensors(self.model, self.adapter)
            return
        rest = self.model.other_parameters
        for block in self.model.blocks:
            yield from (linear.weights for linear in block.linears)
        yield rest

    def adapter_weights(self) -> float:
        """PEFT holds adapters in 32 bits; one that continues under DPO is its own reference."""
        if self.adapter is None:
            return 0
        copies = 2 if self.prefers and self.request.train.start else 1
        return copies * FLOAT * sum(self.trained())

    def optimizer(self) -> float:
        """Two moments a parameter (Kingma & Ba 2015; Loshchilov & Hutter 2019), in its precision.

        Paged ones leave a GPU when it runs short (Dettmers et al. 2023, section 3).
        """
        size = FLOAT if self.adapter is not None else self.size
        if self.args.optimizer == "adamw":
            return 2 * size * sum(self.trained())
        if self.args.optimizer == "paged_adamw_8bit" and self.request.device == "cuda":
            return 0
        return sum(
            count * (_ADAM_8BIT_BYTES if count >= _ADAM_8BIT_SMALLEST else 2 * FLOAT)
            for count in self.trained()
        )

    def gradients(self) -> float:
        """One for each trained value, as far as they add to the peak.

        With accumulation they stay from one micro batch to the next, beside all activations.
        Without, they arrive while activations go: the peak is the larger of the beginning (all
        activations and the loss) and the end (all gradients and the last block's activations).
        """
        size = FLOAT if self.adapter is not None else self.size
        every = size * sum(self.trained())
        if self.args.accumulate > 1:
            return every
        block = self.backward_of_block()
        return max(0, every + block - self.activations() - max(self.loss(), block))

    def _block(self) -> float:
        return self.tokens * block_bytes(self.model, self.adapter, self.precision)

    def activations(self) -> float:
        """With checkpointing the input of each block alone is kept (Chen et al. 2016)."""
        if self.args.gradient_checkpointing:
            return self.tokens * self.model.hidden * self.size * (self.model.layers + 1)
        return self._block() * self.model.layers + self.tokens * self.model.hidden * FLOAT

    def backward_of_block(self) -> float:
        """A block computed again, and the gradients of its widest part on their way through."""
        width = max(self.model.intermediate, self.model.active_experts * self.model.expert_width)
        passing = 3 * self.tokens * width * self.size
        return passing + (self._block() if self.args.gradient_checkpointing else 0)

    def mask(self) -> float:
        """Rows of unequal length, or packed ones laid end to end, need a mask for each pair.

        It is boolean; the CUDA kernels read a copy in compute precision.
        """
        copies = 1 + (self.size if self.request.device == "cuda" else 0)
        length = self.tokens if self.args.packing and not self.prefers else self.request.max_tokens
        return copies * self.tokens * length

    def loss(self) -> float:
        """Logits over the whole vocabulary, and what the loss makes of them.

        SFT (transformers ``ForCausalLMLoss``): log-probabilities in 32 bits, their gradient and
        that of the logits; three of them at the peak. DPO (TRL ``selective_log_softmax``): logits
        and two gradients, and in 16 bits the log-probabilities of every row too.
        """
        values = self.tokens * self.model.vocab
        if self.prefers:
            return values * self.size * (3 if self.size == FLOAT else 4)
        return values * FLOAT * 3

    def dequantised(self) -> float:
        """One layer's weights at a time are computed with in full."""
        if not self.nf4:
            return 0
        largest = max(linear.weights for block in self.model.blocks for linear in block.linears)
        return largest * self.size
