"""The export step on a workspace made by hand: what ships, the card, and refusals."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import GateFailed, UsageError
from tuneforge_specs.export import GgufExport, SafetensorsExport
from tuneforge_specs.sources import PathSource

from tuneforge.manifest import content_digest, describe_files, write_manifest
from tuneforge.step import Artifact, Step, StepContext
from tuneforge.steps import export
from tuneforge.workspace import Workspace


class Bench:
    """A workspace with the artifacts that a build leaves behind."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root / ".tuneforge")
        self.artifacts: dict[str, Artifact] = {}

    def folder(self, step: str) -> Path:
        path = self.workspace.artifact_path(step, self.key(step))
        path.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def key(step: str) -> str:
        return (step.encode().hex() * 8)[:64]

    def finish(self, step: str, inputs: dict[str, str], params: dict[str, Any]) -> Artifact:
        path = self.folder(step)
        files = describe_files(path)
        manifest = {
            "v": 1,
            "step": step,
            "key": self.key(step),
            "params": params,
            "inputs": {
                role: {"step": s, "key": self.key(s), "digest": self.artifacts[s].digest}
                for role, s in inputs.items()
            },
            "files": files,
            "digest": content_digest(files),
            "libraries": {"numpy": "2.0"},
            "seed": 17,
        }
        write_manifest(path, manifest)
        artifact = Artifact(step, self.key(step), manifest["digest"], path, manifest)
        self.artifacts[step] = artifact
        return artifact

    def json(self, step: str, name: str, values: Any) -> None:
        (self.folder(step) / name).write_text(json.dumps(values), "utf-8")


@pytest.fixture
def bench(tmp_path, tiny) -> Bench:
    bench = Bench(tmp_path)
    bench.json("source.tickets", "source.json", {"records": 90, "rejected": 2, "kinds": {"x": 90}})
    bench.finish("source.tickets", {}, {"sources.tickets.format": "auto"})
    stages = [{"stage": "filters[0]", "rule": "length", "in": 90, "dropped": 7, "out": 83}]
    bench.json("dataset.instruct", "funnel.json", stages)
    bench.finish(
        "dataset.instruct",
        {"source.tickets": "source.tickets"},
        {"datasets.instruct.filters[0].min": 3},
    )
    facts = {"id": "acme/base-7b", "architecture": "LlamaForCausalLM"}
    bench.json("base", "base.json", facts)
    bench.finish("base", {}, {"base.model": "acme/base-7b"})
    template = (tiny.write() / "chat_template.jinja").read_text("utf-8")
    rendering = {
        "mode": "sft",
        "chat_template": template,
        "terminators": [2],
        "counts": {"train": 80},
        "max_tokens": 64,
    }
    bench.json("render.instruct", "rendering.json", rendering)
    rows = pa.table({"input_ids": [[5, 6, 7, 8]] * 20, "prompt_ids": [[5, 6]] * 20})
    pq.write_table(rows, bench.folder("render.instruct") / "eval.parquet")
    bench.finish("render.instruct", {"dataset": "dataset.instruct", "base": "base"}, {})
    (bench.folder("train.triage") / "adapter").mkdir()
    bench.finish(
        "train.triage",
        {"render": "render.instruct", "base": "base"},
        {"train.triage.method": "sft", "train.triage.args.learning_rate": 2e-4},
    )
    target = bench.folder("merge.model") / "model"
    tiny.folder.rename(target)
    inputs = {"base": "base", "train.triage": "train.triage"}
    bench.finish("merge.model", inputs, {"merge.model.method": "lora"})
    metrics = {"metrics": {"exact-match": 0.9}, "base": {"exact-match": 0.1}}
    bench.json("evaluate.test", "metrics.json", metrics)
    bench.finish("evaluate.test", {"model": "merge.model"}, {})
    return bench


def run(bench: Bench, settings: Any, reporter: Any, model: str = "merge.model") -> Path:
    step = Step("export.out", "export", "out", {}, {})
    spec = SimpleNamespace(
        build=SimpleNamespace(name="triage"),
        export={"out": settings},
        evaluate={"test": SimpleNamespace(gate=("exact-match >= 0.8",))},
        sources={"tickets": PathSource(path="x", license="CC-BY-4.0")},
    )
    out = bench.workspace.root / "tmp" / "out"
    out.mkdir(parents=True, exist_ok=True)
    context = StepContext(
        step=step,
        spec=spec,
        spec_dir=bench.workspace.root.parent,
        workspace=bench.workspace.root,
        key="k" * 64,
        out=out,
        inputs={
            "model": bench.artifacts[model],
            "base": bench.artifacts["base"],
            "after.test": bench.artifacts["evaluate.test"],
        },
        report=reporter,
        seed=17,
        threads=1,
    )
    export.run(context)
    return out


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))


SAFETENSORS = SafetensorsExport(format="safetensors", model="model")
GGUF = GgufExport(format="gguf", model="model", types=("f16", "q8_0"))


def test_safetensors_ships_the_weights_and_the_tokenizer(bench, reporter):
    out = run(bench, SAFETENSORS, reporter)
    source = bench.artifacts["merge.model"].path / "model"
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "verification.json",
        "README.md",
    }
    assert (out / "model.safetensors").samefile(source / "model.safetensors")
    report = json.loads((out / "verification.json").read_text())
    assert report["passed"] is True
    assert {check["name"] for check in report["checks"]} == {
        "weights",
        "tokenizer",
        "end of turn",
        "trained template",
    }


def test_files_behind_a_link_are_copied(bench, reporter, tmp_path):
    model = bench.artifacts["merge.model"].path / "model"
    elsewhere = tmp_path / "elsewhere"
    model.rename(elsewhere)
    model.symlink_to(elsewhere, target_is_directory=True)
    out = run(bench, SAFETENSORS, reporter)
    assert not (out / "model.safetensors").samefile(elsewhere / "model.safetensors")


def test_trained_terminator_is_added_to_the_generation_config(bench, reporter):
    model = bench.artifacts["merge.model"].path / "model"
    (model / "generation_config.json").write_text('{"eos_token_id": 0, "top_p": 0.9}')
    out = run(bench, SAFETENSORS, reporter)
    written = json.loads((out / "generation_config.json").read_text())
    assert written == {"eos_token_id": [0, 2], "top_p": 0.9}


def test_another_template_than_trained_is_refused(bench, reporter):
    model = bench.artifacts["merge.model"].path / "model"
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(GateFailed, match="not the one it was trained with") as caught:
        run(bench, SAFETENSORS, reporter)
    assert caught.value.exit_code == 4


def test_gguf_without_torch_says_what_is_unverified(bench, reporter, without_torch):
    out = run(bench, GGUF, reporter)
    assert {path.name for path in out.glob("*.gguf")} == {"triage-f16.gguf", "triage-q8_0.gguf"}
    report = json.loads((out / "verification.json").read_text())
    assert (
        "no_such_package not installed (pip install 'tuneforge[train]')" in report["unverified"][0]
    )
    assert any("not verified" in line for line in reporter.lines)
    assert "not verified: logits" in (out / "README.md").read_text("utf-8")


def test_equal_exports_are_equal(bench, reporter, without_torch):
    out = run(bench, GGUF, reporter)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {path.name: path.read_bytes() for path in run(bench, GGUF, reporter).iterdir()} == first


def test_card_tells_where_the_model_came_from(bench, reporter):
    card = (run(bench, SAFETENSORS, reporter) / "README.md").read_text("utf-8")
    front = card.split("---")[1]
    assert 'base_model: "acme/base-7b"' in front
    assert '"type": "exact-match", "value": 0.9' in front
    for fact in (
        "| tickets | CC-BY-4.0 | 90 | 2 | x 90 |",
        "| filters[0] | length | 90 | 7 | 83 |",
        "| `train.triage.args.learning_rate` | `0.0002` |",
        "| `exact-match >= 0.8` | 0.9 | passed |",
        "| exact-match | 0.1 | 0.9 |",
        "numpy 2.0",
        bench.artifacts["merge.model"].digest[:16],
        "`datasets.instruct.filters[0].min` = `3`",
    ):
        assert fact in card


def test_card_names_what_is_lost(bench, reporter):
    import shutil

    shutil.rmtree(bench.artifacts["source.tickets"].path)
    card = (run(bench, SAFETENSORS, reporter) / "README.md").read_text("utf-8")
    assert "No longer in the workspace, so not described here: source.tickets." in card


def test_an_adapter_is_no_model(bench, reporter):
    with pytest.raises(UsageError, match=r"train\.triage has an adapter"):
        run(bench, SAFETENSORS, reporter, model="train.triage")


@pytest.mark.train
def test_worker_probes_the_files(bench, reporter):
    out = run(bench, GGUF, reporter)
    report = json.loads((out / "verification.json").read_text())
    checks = {(check["file"], check["name"]) for check in report["checks"]}
    assert {("triage-q8_0.gguf", "logits"), ("triage-q8_0.gguf", "stops")} <= checks
    assert report["measured"]["triage-f16.gguf"]["relative_error"] < 0.02


@pytest.mark.train
def test_damaged_file_fails_the_step(bench, reporter, monkeypatch):
    from tuneforge.export.gguf.architectures import llama

    monkeypatch.setattr(llama, "interleave_halves", lambda rows, _width: rows)
    with pytest.raises(GateFailed, match="logits"):
        run(bench, GGUF, reporter)
