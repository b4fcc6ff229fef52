"""A merge beside the model that was trained: adapter on NF4, merged onto both forms of the base."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_specs.merge import AdapterInput, LoraMerge

pytestmark = pytest.mark.train
ROWS = 20


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    rows = [
        {
            "record_id": f"s:{n}",
            "input_ids": [(7 * n + 3 * place) % 60 for place in range(5 + n)],
            "loss_mask": [0] * 3 + [1] * (2 + n),
            "prompt_ids": [1],
        }
        for n in range(ROWS)
    ]
    path = tmp_path / "eval.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Save a base whose rows are whole NF4 blocks, as those of real models are."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=60, tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def trained(base: Path, folder: Path) -> Path:
    """Save an adapter as training on NF4 leaves it."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tuneforge.worker.model import load_base

    model = load_base(base, dtype="float32", quantize="nf4", device="cpu")
    peft = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    peft.save_pretrained(folder / "adapter")
    facts = {"base": {"digest": "", "quantize": "nf4", "dtype": "float32"}}
    (folder / "training.json").write_text(json.dumps(facts))
    return folder / "adapter"


def merged(base: Path, adapter: Path, folder: Path, onto: Any) -> Path:
    from tuneforge.merge.execute import merge_into
    from tuneforge.merge.resolve import input_folder

    entry = AdapterInput(adapter=str(adapter))
    merge_into(
        folder, base=base, base_facts={}, base_dtype="float32",
        spec=LoraMerge(method="lora", inputs=(entry,), onto=onto),
        inputs=[input_folder(entry, adapter)], seed=0, threads=1,
        progress=lambda done, total: None,
    )  # fmt: skip
    return folder


def measured(path: Path, described: dict[str, Any]) -> dict[str, Any]:
    from tuneforge.worker.generate import generate
    from tuneforge.worker.run import WorkerRun

    (path / "output").mkdir(parents=True)
    worker = WorkerRun(path)
    generate(described, worker)
    found: dict[str, Any] = json.loads((worker.output / "measured.json").read_text())
    return found


def test_the_dequantised_merge_is_the_trained_model_and_the_original_is_not(
    wide: Path, rows_file: Path, tmp_path: Path
) -> None:
    from tuneforge.evaluate.job import describe

    adapter = trained(wide, tmp_path / "train")
    on_nf4 = describe(wide, "float32") | {"adapter": str(adapter), "quantize": "nf4"}
    found = {}
    for onto in ("dequantised", "original"):
        folder = merged(wide, adapter, tmp_path / onto, onto)
        described = {
            "seed": 1, "threads": 1, "device": "cpu", "rows_file": str(rows_file), "rows": 0,
            "batch": 4, "pad": 0, "terminators": [2], "loss": True, "generate": False,
            "max_new_tokens": 1, "trained": on_nf4,
            "models": {"base": describe(wide, "float32"), "model": describe(folder, "float32")},
        }  # fmt: skip
        found[onto] = measured(tmp_path / f"run-{onto}", described)["trained"]
    same, other = found["dequantised"], found["original"]
    assert same["rows"] == other["rows"] == 16
    assert same["tokens"] == sum(2 + n for n in range(16))
    assert same["top1"] == 1.0
    assert same["max"] < 1e-4
    assert same["mean"] <= same["max"]
    assert other["mean"] > 100 * same["mean"]
    assert other["max"] > other["mean"]
    assert other["top1"] < 1.0


def test_what_is_compared() -> None:
    import torch

    from tuneforge.worker.deviation import deviation

    ours = [torch.tensor([[1.0, 2.0], [0.0, 5.0]]), torch.tensor([[3.0, 1.0]])]
    theirs = [torch.tensor([[1.0, 1.5], [1.0, 0.0]]), torch.tensor([[3.0, 1.0]])]
    assert deviation(ours, theirs) == {
        "rows": 2, "tokens": 3, "mean": 6.5 / 6, "max": 5.0, "top1": 2 / 3,
    }  # fmt: skip
