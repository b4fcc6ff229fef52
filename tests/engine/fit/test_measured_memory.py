"""Estimates against the allocator: tiny models trained on the CPU under torch's memory profiler.

Held: what tensors take, within 10 percent, for LoRA and full training, with and without gradient
checkpointing, in 32 and 16 bits, with dropout and accumulation.
"""

import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from tuneforge_specs.base import ModelBase
from tuneforge_specs.train import Args, FullAdapter, LoraAdapter, SftTrain

from tuneforge.fit import estimate

pytestmark = pytest.mark.train

TOLERANCE = 0.10
NARROW = {
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
    "vocab_size": 800,
    "num_hidden_layers": 6,
}
WORDY = {**NARROW, "vocab_size": 20000, "num_hidden_layers": 2}
WIDE = {**NARROW, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4}
ROWS, TOKENS = 4, 128


def peak_of(work: Callable[[], None]) -> int:
    """Give the most bytes the CPU allocator held during ``work`` above what it held before."""
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    live = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def held(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(
    family: str,
    shape: dict[str, int],
    *,
    full: bool,
    bits: int,
    checkpointing: bool,
    accumulate: int,
    dropout: float,
) -> tuple[int, dict[str, Any]]:
    """Train one step to warm up and one under the profiler; give its peak and the config."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)
    config = AutoConfig.for_model(family, **shape)
    dtype = torch.float32 if bits == 32 else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    if not full:
        lora = LoraConfig(
            r=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, lora)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    ids = torch.randint(0, config.vocab_size, (ROWS, TOKENS))
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0

    def step() -> None:
        for _ in range(accumulate):
            model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    moments = held(t for state in optimizer.state.values() for t in state.values())
    peak = peak_of(step) + held(model.parameters()) + moments
    return peak, json.loads(config.to_json_string())


@pytest.mark.parametrize(
    ("family", "shape", "settings"),
    [
        ("llama", NARROW, {}),
        ("llama", NARROW, {"checkpointing": True}),
        ("llama", NARROW, {"full": True}),
        ("llama", NARROW, {"full": True, "checkpointing": True}),
        ("llama", NARROW, {"bits": 16}),
        ("llama", NARROW, {"dropout": 0.1}),
        ("llama", WORDY, {}),
        ("llama", WORDY, {"checkpointing": True}),
        ("llama", WORDY, {"full": True}),
        ("llama", WIDE, {"full": True, "checkpointing": True, "accumulate": 2}),
        ("llama", WIDE, {"full": True}),
        ("qwen2", NARROW, {}),
        ("qwen3", {**NARROW, "head_dim": 32}, {}),
        ("mistral", NARROW, {"checkpointing": True}),
        ("phi", {**NARROW, "num_key_value_heads": 4}, {}),
    ],
)
def test_the_estimate_is_what_is_held(
    family: str, shape: dict[str, int], settings: dict[str, Any]
) -> None:
    case = {
        "full": False,
        "bits": 32,
        "checkpointing": False,
        "accumulate": 1,
        "dropout": 0.0,
        **settings,
    }
    measured, config = measure(family, shape, **case)
    lora = LoraAdapter(kind="lora", r=8, dropout=case["dropout"])
    train = SftTrain(
        method="sft",
        dataset="d",
        adapter=FullAdapter(kind="full") if case["full"] else lora,
        args=Args(
            micro_batch=ROWS,
            accumulate=case["accumulate"],
            gradient_checkpointing=case["checkpointing"],
        ),
    )
    base = ModelBase(model="m", dtype="float32" if case["bits"] == 32 else "bfloat16")
    found = estimate(config, train, base, TOKENS, device="cpu")
    assert found.allocated == pytest.approx(measured, rel=TOLERANCE), found.terms
