"""How many parameters an adapter trains, by the rules PEFT picks layers with."""

import re
from collections.abc import Iterator

from tuneforge_specs.train import LoraAdapter

from tuneforge.fit.architecture import Architecture, Linear

# PEFT 0.21 rewrites these families' targets onto their stacked experts.
_ADAPTED_EXPERTS = frozenset({"mixtral", "qwen3_moe"})


def adapted(architecture: Architecture, adapter: LoraAdapter) -> tuple[Linear, ...]:
    """Give every linear layer the adapter targets, one entry a layer.

    ``all-linear`` takes all but the head; a list takes names and ends of names; any other text is
    a regular expression over whole names (PEFT ``check_target_module_exists``).
    """
    # Where PEFT turns to the stacked experts it passes over the dense layers beside them.
    stacked = architecture.experts > 0 and architecture.family in _ADAPTED_EXPERTS
    return tuple(
        linear
        for name, linear in _named(architecture)
        if _targets(adapter.target_modules, name, linear, stacked=stacked)
    )


def _named(architecture: Architecture) -> Iterator[tuple[str, Linear]]:
    for index, block in enumerate(architecture.blocks):
        for linear in block.linears:
            yield f"model.layers.{index}.{linear.path}", linear
    yield architecture.head.path, architecture.head


def _targets(targets: str | tuple[str, ...], name: str, linear: Linear, *, stacked: bool) -> bool:
    if isinstance(targets, str):
        if targets.lower() == "all-linear":
            return linear.path != "lm_head" and not (stacked and linear.path.startswith("mlp."))
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def trained_tensors(architecture: Architecture, adapter: LoraAdapter) -> Iterator[int]:
    """Give the size of each tensor a LoRA adapter trains (optimizers treat small ones apart).

    With ``all-linear`` PEFT also adapts the stacked experts and the router of the families it
    knows: rank r for each expert, doubled on the fused gate and up projection.
    """
    for linear in adapted(architecture, adapter):
        yield adapter.r * linear.inputs
        yield adapter.r * linear.outputs
        if adapter.dora:
            yield linear.outputs
    if adapter.target_modules != "all-linear" or architecture.family not in _ADAPTED_EXPERTS:
        return
    hidden, width, experts = architecture.hidden, architecture.expert_width, architecture.experts
    for block in architecture.blocks:
        if block.experts:
            ranks = adapter.r * experts
            yield 2 * ranks * hidden
            yield 2 * ranks * 2 * width
            yield ranks * width
            yield ranks * hidden
            yield adapter.r * hidden
            yield adapter.r * experts


def lora_parameters(architecture: Architecture, adapter: LoraAdapter) -> int:
    """Count what the adapter trains: A (r x inputs) and B (outputs x r) of each layer it targets.

    Hu et al. 2021 (LoRA), section 4.1; DoRA adds a magnitude for each output (Liu et al. 2024).
    """
    return sum(trained_tensors(architecture, adapter))
