"""The merge step: what it reads from its inputs and what it leaves."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tuneforge_specs.spec import Spec

from tuneforge.step import Artifact, Step, StepContext
from tuneforge.steps import merge

NAME = "model.layers.0.self_attn.q_proj"
SPEC: dict[str, Any] = {
    "spec": 1,
    "build": {"name": "x"},
    "base": {"model": "base"},
    "merge": {"m": {"method": "lora", "inputs": [{"train": "t"}]}},
}


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    model = tmp_path / "base" / "model"
    model.mkdir(parents=True)
    weights = np.eye(16, dtype=np.float32)
    save_file(
        {f"{NAME}.weight": weights, "model.norm.weight": np.ones(16, np.float16)},
        model / "model.safetensors",
    )
    config = {"model_type": "llama", "dtype": "float32", "tie_word_embeddings": False}
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text("{}")
    (model / "generation_config.json").write_text('{"eos_token_id": 2}')
    (model / "chat_template.jinja").write_text("base template")
    (tmp_path / "base" / "base.json").write_text('{"id": "acme/base", "digest": "d1"}')
    adapter = tmp_path / "train" / "adapter"
    adapter.mkdir(parents=True)
    save_file(
        {
            f"base_model.model.{NAME}.lora_A.weight": np.ones((2, 16), np.float32),
            f"base_model.model.{NAME}.lora_B.weight": np.ones((16, 2), np.float32),
        },
        adapter / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "tokenizer.json").write_text('{"of": "training"}')
    (adapter / "chat_template.jinja").write_text("the template that was trained")
    facts = {"base": {"digest": "d1", "quantize": "none", "dtype": "float32"}}
    (tmp_path / "train" / "training.json").write_text(json.dumps(facts))
    out = tmp_path / "out"
    out.mkdir()
    report = SimpleNamespace(progress=lambda *_: None, log=lambda _: None)
    inputs = {
        "base": Artifact("base", "k", "d", tmp_path / "base", {}),
        "train.t": Artifact("train.t", "k", "d", tmp_path / "train", {}),
    }
    return StepContext(
        step=Step("merge.m", "merge", "m", {}, {"base": "base", "train.t": "train.t"}),
        spec=Spec.model_validate(SPEC), spec_dir=tmp_path, workspace=tmp_path / ".tuneforge",
        key="k", out=out, inputs=inputs, report=report, seed=17, threads=2,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_step_writes_a_whole_model_folder(context: StepContext) -> None:
    merge.run(context)
    model = context.out / "model"
    tensors = load_file(model / "model.safetensors")
    assert np.array_equal(tensors[f"{NAME}.weight"], np.eye(16, dtype=np.float32) + 1)
    assert tensors["model.norm.weight"].dtype == np.float16
    assert (model / "chat_template.jinja").read_text() == "the template that was trained"
    assert (model / "tokenizer.json").read_text() == '{"of": "training"}'
    assert json.loads((model / "generation_config.json").read_text()) == {"eos_token_id": 2}
    assert json.loads((model / "config.json").read_text())["model_type"] == "llama"
    report = json.loads((context.out / "merge.json").read_text())
    assert report["base"] == {"id": "acme/base", "digest": "d1"}
    assert report["onto"] == "original"
    assert report["inputs"][0]["label"] == "train.t"
    (tensor,) = report["tensors"]
    assert tensor["name"] == f"{NAME}.weight"
    assert tensor["delta_norm"] == 16.0
    assert tensor["relative"] == 4.0


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ({"filter": "q_proj", "value": 0.5}, 0.5),
        ({"filter": "mlp", "value": 0.5}, 1.0),
        ([0.1, 0.25], 0.25),
        (-2.0, -2.0),
    ],
)
def test_an_adapter_is_folded_with_the_weight_of_each_tensor(
    context: StepContext, weight: Any, expected: float
) -> None:
    table = {"method": "lora", "inputs": [{"train": "t", "weight": weight}]}
    context.spec = Spec.model_validate(SPEC | {"merge": {"m": table}})
    merge.run(context)
    tensors = load_file(context.out / "model" / "model.safetensors")
    assert np.array_equal(tensors[f"{NAME}.weight"], np.eye(16, dtype=np.float32) + expected)
    assert json.loads((context.out / "merge.json").read_text())["inputs"][0]["weight"] == weight


def test_equal_runs_leave_equal_bytes(context: StepContext) -> None:
    merge.run(context)
    first = {p.name: p.read_bytes() for p in context.out.rglob("*") if p.is_file()}
    for path in sorted(context.out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    context.threads = 1
    merge.run(context)
    assert {p.name: p.read_bytes() for p in context.out.rglob("*") if p.is_file()} == first


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_another_dtype_is_in_weights_and_config(context: StepContext, dtype: str) -> None:
    table = {"method": "lora", "inputs": [{"train": "t"}], "dtype": dtype}
    context.spec = Spec.model_validate(SPEC | {"merge": {"m": table}})
    merge.run(context)
    model = context.out / "model"
    assert json.loads((model / "config.json").read_text())["dtype"] == dtype
    from tuneforge.weights import open_weights

    codes = {tensor.dtype for tensor in open_weights(model).values()}
    assert codes == {"BF16" if dtype == "bfloat16" else "F16"}


def test_a_step_whose_result_is_an_adapter_and_one_that_merges_on(context: StepContext) -> None:
    tables = {
        "m": {"method": "lora_cat", "inputs": [{"train": "t"}, {"train": "t", "weight": 2.0}]},
        "n": {"method": "lora", "inputs": [{"merge": "m"}]},
    }
    context.spec = Spec.model_validate(SPEC | {"merge": tables})
    said: list[str] = []
    context.report.log = said.append  # type: ignore[method-assign, assignment]
    merge.run(context)
    adapter = context.out / "adapter"
    assert not (context.out / "model").exists()
    assert (adapter / "chat_template.jinja").read_text() == "the template that was trained"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert said == [f"lora_cat: rank 4 over 1 modules, relative error 0 (largest 0, {NAME})"]
    report = json.loads((context.out / "merge.json").read_text())
    assert report["base"]["digest"] == "d1"
    context.inputs = {**context.inputs, "merge.m": Artifact("merge.m", "k", "d", context.out, {})}
    context.out = context.out.with_name("next")
    context.out.mkdir()
    context.step = Step("merge.n", "merge", "n", {}, {"base": "base", "merge.m": "merge.m"})
    merge.run(context)
    tensors = load_file(context.out / "model" / "model.safetensors")
    assert np.array_equal(tensors[f"{NAME}.weight"], np.eye(16, dtype=np.float32) + 3)


def test_a_merged_adapter_is_measured_and_spoken_to_on_its_own_base(context: StepContext) -> None:
    from tuneforge.evaluate.job import belongs_on

    table = {"method": "lora_cat", "inputs": [{"train": "t"}]}
    context.spec = Spec.model_validate(SPEC | {"merge": {"m": table}})
    merge.run(context)
    assert belongs_on(context.out, "nf4") == "none"
    assert belongs_on(context.inputs["train.t"].path, "nf4") == "nf4"
