"""What an estimate is made of, how it moves, and what a verdict proposes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_specs.base import ModelBase
from tuneforge_specs.train import Args, DpoTrain, FullAdapter, LoraAdapter, SftTrain

from tuneforge.fit import Estimate, estimate, parse_size, verdict

CONFIGS = Path(__file__).parent / "configs"
LLAMA_8B = json.loads((CONFIGS / "llama-3.1-8b.json").read_text())
QWEN = json.loads((CONFIGS / "qwen2.5-0.5b.json").read_text())
GIB = 2**30


def of(
    config: dict[str, Any] = LLAMA_8B,
    *,
    tokens: int = 2048,
    quantize: Any = "nf4",
    full: bool = False,
    dpo: bool = False,
    device: Any = "cuda",
    dropout: float = 0.0,
    start: str = "",
    **args: Any,
) -> Estimate:
    adapter = FullAdapter(kind="full") if full else LoraAdapter(kind="lora", dropout=dropout)
    shared = {"dataset": "d", "adapter": adapter, "args": Args(**args), "start": start}
    train = DpoTrain(method="dpo", **shared) if dpo else SftTrain(method="sft", **shared)
    base = ModelBase(model="m", quantize="none" if full else quantize)
    return estimate(config, train, base, tokens, device=device)


def test_nf4_takes_the_bits_the_paper_says() -> None:
    # QLoRA, section 3: 4 bits and 0.127 for constants, on 6.98B weights of linear layers;
    # embeddings and head (1.05B) and norms stay in 16 bits.
    weights = of().terms["base weights"]
    linear = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    rest = 2 * 128256 * 4096 + 65 * 4096
    assert weights == pytest.approx(linear * 4.127 / 8 + rest * 2, rel=1e-4)


def test_full_training_in_bfloat16_by_hand() -> None:
    terms = of(QWEN, full=True, accumulate=2).terms
    count = 494_032_768
    assert terms["base weights"] == 2 * count
    assert terms["optimizer state"] == 2 * 2 * count
    assert terms["gradients"] == 2 * count


def test_lora_state_is_32_bit() -> None:
    terms = of(accumulate=2).terms
    count = 41_943_040  # r = 16 on all linear layers of Llama-3.1-8B, as PEFT prints it
    assert terms["adapter weights"] == 4 * count
    assert terms["gradients"] == 4 * count
    assert terms["optimizer state"] == 8 * count


def test_logits_dominate_a_large_vocabulary() -> None:
    terms = of(QWEN, micro_batch=8, quantize="none").terms
    assert terms["logits and loss"] == 3 * 4 * 8 * 2048 * 151936
    assert terms["logits and loss"] > sum(terms.values()) / 2


def test_an_8b_model_in_nf4_takes_what_people_report() -> None:
    # One row of 2048 tokens with checkpointing is known to fit 12 GB cards and not 8 GB ones.
    assert 8e9 < of(micro_batch=1).total < 12e9


def test_allocated_leaves_out_what_torch_does_not_count() -> None:
    found = of()
    outside = found.terms["context and libraries"] + found.terms["allocator slack"]
    assert found.allocated == found.total - outside


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"micro_batch": 8}),
        ({}, {"tokens": 4096}),
        ({}, {"quantize": "none"}),
        ({}, {"gradient_checkpointing": False}),
        ({"optimizer": "adamw_8bit"}, {}),
        ({"optimizer": "paged_adamw_8bit"}, {"optimizer": "adamw_8bit"}),
        ({"gradient_checkpointing": False}, {"gradient_checkpointing": False, "dropout": 0.1}),
        ({"dpo": True}, {"dpo": True, "start": "other"}),
        ({}, {"dpo": True}),
        ({"accumulate": 1}, {"accumulate": 2}),
        ({}, {"packing": True}),
        ({"quantize": "none"}, {"full": True}),
    ],
)
def test_what_costs_more(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert of(**less).total < of(**more).total


@given(
    rows=st.integers(1, 16),
    tokens=st.integers(16, 8192),
    device=st.sampled_from(["cuda", "cpu"]),
    full=st.booleans(),
    dpo=st.booleans(),
    checkpointing=st.booleans(),
)
def test_terms_are_bytes_and_grow_with_rows(
    rows: int, tokens: int, device: str, full: bool, dpo: bool, checkpointing: bool
) -> None:
    def at(count: int) -> Estimate:
        return of(
            QWEN,
            tokens=tokens,
            device=device,
            full=full,
            dpo=dpo,
            micro_batch=count,
            gradient_checkpointing=checkpointing,
        )

    found = at(rows)
    assert all(isinstance(size, int) and size > 0 for size in found.terms.values())
    assert found.total <= at(rows + 1).total


class TestVerdict:
    def test_fits(self) -> None:
        found = verdict(of(micro_batch=1), parse_size("24GB"))
        assert found.fits
        assert found.changes == {}
        assert str(found).startswith("fits: ")

    def test_smaller_batches_come_first_and_keep_the_step(self) -> None:
        found = verdict(of(micro_batch=8, accumulate=2), parse_size("16GB"))
        assert not found.fits
        assert set(found.changes) == {"args.micro_batch", "args.accumulate"}
        rows, times = found.changes["args.micro_batch"], found.changes["args.accumulate"]
        assert isinstance(rows, int)
        assert isinstance(times, int)
        assert rows * times == 16
        assert found.after is not None
        assert found.after.total <= found.budget
        assert "args.micro_batch = " in str(found)

    def test_only_what_is_needed_is_proposed(self) -> None:
        found = verdict(of(quantize="none", micro_batch=1), parse_size("14GB"))
        assert found.changes == {"base.quantize": "nf4"}

    def test_checkpointing(self) -> None:
        loose = of(micro_batch=1, gradient_checkpointing=False)
        found = verdict(loose, of(micro_batch=1).total)
        assert found.changes == {"args.gradient_checkpointing": True}

    def test_an_8bit_optimizer_for_full_training(self) -> None:
        whole = of(LLAMA_8B, full=True, micro_batch=1, tokens=256)
        found = verdict(whole, whole.total - 5 * GIB)
        assert found.changes == {"args.optimizer": "adamw_8bit"}

    def test_nothing_helps(self) -> None:
        found = verdict(of(), parse_size("4GB"))
        assert not found.fits
        assert found.after is None
        assert str(found).startswith("does not fit: ")

    @given(budget=st.integers(GIB, 80 * GIB), rows=st.integers(1, 12), nf4=st.booleans())
    def test_a_proposal_fits(self, budget: int, rows: int, nf4: bool) -> None:
        quantize = "nf4" if nf4 else "none"
        found = verdict(of(micro_batch=rows, quantize=quantize), budget)
        assert found.fits == (found.estimate.total <= budget)
        if found.after is not None:
            assert found.after.total <= budget
            assert found.changes
