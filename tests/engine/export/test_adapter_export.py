"""The adapter folder: PEFT's files, its base by name, and the command that serves it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import SpecError, UsageError
from tuneforge_specs.export import AdapterExport
from tuneforge_specs.loader import load

from tuneforge.export.adapter import export
from tuneforge.export.job import Job, Trained
from tuneforge.export.model_folder import ModelFolder
from tuneforge.plan.builder import make_plan
from tuneforge.workspace import Workspace

SETTINGS = AdapterExport(format="adapter", model="triage")
MODULE = "base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.weight"


@pytest.fixture
def job(tiny, tmp_path, reporter):
    folder = tiny.write()
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
    random = np.random.default_rng(0)
    tensors = {}
    for layer in range(2):
        for name, rows in (("q", 64), ("v", 32)):
            tensors[MODULE.format(layer, name, "A")] = random.standard_normal((8, 64))
            tensors[MODULE.format(layer, name, "B")] = random.standard_normal((rows, 8)) * 0.1
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "/somewhere/on/the/machine/that/trained",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    out.mkdir()
    trained = Trained((2,), ((folder / "chat_template.jinja").read_text("utf-8"),))
    return Job(
        "triage", ModelFolder(folder), out, trained, reporter, lambda _j: out, base="acme/base-7b"
    )


def change(job, **values):
    file = job.model.path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_adapter_names_its_base_and_how_to_serve_it(job):
    report = export(job, SETTINGS)
    assert not report.failed, report.failed
    config = json.loads((job.out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "acme/base-7b"
    source = job.model.path / "adapter_model.safetensors"
    assert (job.out / "adapter_model.safetensors").read_bytes() == source.read_bytes()
    serve = (job.out / "serve.md").read_text("utf-8")
    assert "vllm serve acme/base-7b" in serve
    assert "--max-lora-rank 8" in serve
    assert "--lora-modules triage=" in serve
    assert "Not with vLLM" not in serve


def test_next_rank_that_vllm_takes(job):
    change(job, rank_pattern={"q_proj": 12})
    export(job, SETTINGS)
    assert "--max-lora-rank 16" in (job.out / "serve.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("values", "named"),
    [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "modules_to_save")],
)
def test_what_vllm_does_not_serve_is_said(job, values, named):
    change(job, **values)
    report = export(job, SETTINGS)
    assert any(named in note for note in report.notes)
    assert named in (job.out / "serve.md").read_text("utf-8")


def test_an_adapter_that_changes_nothing_fails(job):
    file = job.model.path / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({n: t * (".lora_A." in n) for n, t in tensors.items()}, file)
    assert {check.name for check in export(job, SETTINGS).failed} == {"delta"}


def test_half_a_pair_fails(job):
    file = job.model.path / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors[MODULE.format(1, "v", "B")]
    save_file(tensors, file)
    assert {check.name for check in export(job, SETTINGS).failed} == {"pairs"}


def test_other_methods_are_refused(job):
    change(job, peft_type="IA3")
    with pytest.raises(UsageError, match="IA3"):
        export(job, SETTINGS)


def with_gguf(job, tmp_path, **base):
    from dataclasses import replace

    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 64,
        "head_dim": 16,
    } | base
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    settings = AdapterExport(format="adapter", model="triage", gguf=True)
    return export(replace(job, base_model=ModelFolder(folder)), settings)


@pytest.mark.parametrize(
    "values", [{}, {"use_rslora": True}, {"alpha_pattern": {"v_proj": 3}, "lora_alpha": 10}]
)
def test_gguf_adapter_has_the_same_deltas(job, tmp_path, values):
    from gguf import GGUFReader

    change(job, **values)
    report = with_gguf(job, tmp_path)
    assert not report.failed, report.failed
    assert "deltas" in {check.name for check in report.checks}
    reader = GGUFReader(job.out / "triage-lora.gguf")
    assert reader.fields["general.type"].contents() == "adapter"
    names = {tensor.name for tensor in reader.tensors}
    assert {"blk.0.attn_q.weight.lora_a", "blk.1.attn_v.weight.lora_b"} <= names
    assert "--lora triage-lora.gguf" in (job.out / "serve.md").read_text("utf-8")


def test_gguf_adapter_in_the_wrong_order_fails(job, tmp_path, monkeypatch):
    from tuneforge.export.gguf.architectures import llama

    monkeypatch.setattr(llama, "interleave_halves", lambda rows, _width: rows)
    report = with_gguf(job, tmp_path)
    assert {check.name for check in report.failed} == {"deltas"}


def test_dora_is_no_gguf_adapter(job, tmp_path):
    change(job, use_dora=True)
    with pytest.raises(UsageError, match="use_dora"):
        with_gguf(job, tmp_path)


def test_several_adapters_ship_together(job, tmp_path):
    other = tmp_path / "polite"
    shutil.copytree(job.model.path, other)
    beside = replace(job, name="polite", model=ModelFolder(other), out=job.out / "polite")
    change(beside, r=8, rank_pattern={"v_proj": 24})
    settings = AdapterExport(format="adapter", model="triage", beside=("polite",))
    report = export(replace(job, beside=(beside,)), settings)
    assert not report.failed
    names = {"weights", "pairs", "delta", "base", "tokenizer", "end of turn", "trained template"}
    assert {check.name for check in report.checks if check.file.startswith("polite/")} == names
    assert any(note.startswith("polite: vLLM serves one rank") for note in report.notes)
    serve = (job.out / "serve.md").read_text("utf-8")
    assert "--max-lora-rank 32 " in serve
    assert (
        "--lora-modules triage=PATH/TO/THIS/FOLDER \\\n    polite=PATH/TO/THIS/FOLDER/polite\n"
        in serve
    )
    assert (job.out / "polite" / "adapter_model.safetensors").is_file()


def test_one_broken_adapter_among_several_fails(job, tmp_path):
    other = tmp_path / "polite"
    shutil.copytree(job.model.path, other)
    tensors = load_file(other / "adapter_model.safetensors")
    save_file({n: t * 0 for n, t in tensors.items()}, other / "adapter_model.safetensors")
    beside = replace(job, name="polite", model=ModelFolder(other), out=job.out / "polite")
    report = export(replace(job, beside=(beside,)), SETTINGS)
    assert [(check.file, check.name) for check in report.failed] == [
        ("polite/adapter_model.safetensors", "delta")
    ]


SPEC = """
spec = 1
[build]
name = "x"
[base]
model = "base"
[sources.s]
path = "s.jsonl"
[datasets.d]
from = [{ source = "s" }]
[train.triage]
method = "sft"
dataset = "d"
[train.polite]
method = "sft"
dataset = "d"
[train.whole]
method = "sft"
dataset = "d"
adapter = { kind = "full" }
[evaluate.e]
model = "polite"
dataset = "d"
metrics = ["loss"]
gate = ["loss < 1"]
[export.a]
format = "adapter"
model = "triage"
beside = BESIDE
"""


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ('["polit"]', r"export\.a\.beside\[0\]: there is no merge or train step `polit`"),
        ('["triage"]', r"`triage` is in this export already"),
        ('["polite", "polite"]', r"`polite` is in this export already"),
        ('["whole"]', r"`whole` is a whole model"),
    ],
)
def test_what_cannot_ship_together_is_refused(tmp_path, beside, said):
    (tmp_path / "spec.toml").write_text(SPEC.replace("BESIDE", beside))
    with pytest.raises(SpecError, match=said):
        load(tmp_path / "spec.toml")


def test_the_export_waits_for_all_its_adapters_and_their_gates(tmp_path):
    (tmp_path / "spec.toml").write_text(SPEC.replace("BESIDE", '["polite"]'))
    (tmp_path / "s.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    found = load(tmp_path / "spec.toml")
    step = make_plan(found, Workspace.of(found.path))["export.a"].step
    assert dict(step.inputs) == {
        "model": "train.triage",
        "base": "base",
        "beside.polite": "train.polite",
        "after.e": "evaluate.e",
    }
