"""The steps that start workers, from spec to artifact."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import UsageError
from tuneforge_specs.spec import Spec

from tuneforge.device import detect
from tuneforge.step import Artifact, Step, StepContext
from tuneforge.steps import base as base_step
from tuneforge.steps import train as train_step

pytestmark = pytest.mark.train

HEAD = {"spec": 1, "build": {"name": "demo"}}


@pytest.fixture
def context(tmp_path, report):
    def make(step, spec, inputs, **params):
        kind, _, name = step.partition(".")
        out = tmp_path / "out" / step
        out.mkdir(parents=True)
        return StepContext(
            step=Step(
                step, kind, name or kind, {k.replace("__", "."): v for k, v in params.items()}, {}
            ),
            spec=Spec.model_validate(HEAD | spec),
            spec_dir=tmp_path,
            workspace=tmp_path / ".tuneforge",
            key="k" * 64,
            out=out,
            inputs={r: Artifact(r, "k", f"digest-of-{r}", p, {}) for r, p in inputs.items()},
            report=report,
            seed=7,
            threads=1,
        )

    return make


SCRATCH = {"corpus": ("text",), "hidden": 48, "heads": 2, "kv_heads": 1, "layers": 3, "steps": 3}
SCRATCH |= {"vocab": 320, "intermediate": 64, "context": 128, "batch": 2, "sequence": 16}


def test_the_scratch_base_and_its_smoke_version(context, corpus):
    spec = {"base": {"scratch": SCRATCH}}
    made = context("base", spec, {"source.text": corpus.parent})
    base_step.run(made)
    config = json.loads((made.out / "model" / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (48, 3)
    assert config["num_key_value_heads"] == 1
    facts = json.loads((made.out / "base.json").read_text())
    assert facts["id"] == "demo-base"
    assert made.notes["run"]["parameters"] > 0
    smoke = context("base.smoke", spec, {"source.text": corpus.parent}, base__smoke=True)
    base_step.run(smoke)
    config = json.loads((smoke.out / "model" / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (32, 2)
    tokenizers = {(c.out / "model" / "tokenizer.json").read_text() for c in (made, smoke)}
    assert len(tokenizers) == 1


def test_the_smoke_version_of_a_model_is_tiny_and_keeps_its_tokenizer(context, base):
    spec = {"base": {"model": str(base)}}
    made = context("base", spec, {}, base__smoke=True)
    base_step.run(made)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(made.out / "model")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(made.out / "model"))
    assert (made.out / "model" / "tokenizer.json").read_bytes() == (
        base / "tokenizer.json"
    ).read_bytes()


def test_every_architecture_shrinks():
    """Configs as real models have them; each must still build."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tuneforge.worker.smoke import shrink

    for kind in (
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma2",
        "gemma3_text",
        "phi3",
        "qwen3_moe",
    ):
        config = AutoConfig.for_model(kind, vocab_size=300, pad_token_id=0).to_dict()
        small = shrink(config)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**small))
        assert sum(p.numel() for p in model.parameters()) < 2e6, kind


def spec_of(base, **train):
    table = {"method": "sft", "dataset": "d", "args": {"max_steps": 2, "micro_batch": 2}, **train}
    data = {"from": ({"source": "s"},)}
    return {
        "base": {"model": str(base), "quantize": "nf4"},
        "sources": {"s": {"path": "s.jsonl"}},
        "datasets": {"d": data},
        "train": {"a": table},
    }


@pytest.fixture
def base_artifact(tmp_path, base):
    folder = tmp_path / "base-artifact"
    folder.mkdir()
    (folder / "model").symlink_to(base)
    (folder / "base.json").write_text(json.dumps({"id": "tiny", "digest": "d" * 64}))
    return folder


def test_a_train_step_leaves_adapter_facts_and_notes(context, base, base_artifact, conversations):
    made = context("train.a", spec_of(base), {"base": base_artifact, "render": conversations})
    train_step.run(made)
    assert sorted(p.name for p in made.out.iterdir()) == ["adapter", "training.json"]
    facts = json.loads((made.out / "training.json").read_text())
    assert facts["base"]["digest"] == "d" * 64
    assert facts["seed"] == 7
    memory = made.notes["memory"]
    assert memory["measured_bytes"] > 1e8
    assert memory["predicted"]["total_bytes"] > memory["predicted"]["allocated_bytes"] > 0
    assert made.notes["backend"]["name"] == "trl"
    assert made.notes["run"]["steps"] == 2
    # a build killed before it could keep the artifact finds the run done
    again = context("train.a.again", spec_of(base), {})
    again.step = made.step
    again.inputs = made.inputs
    train_step.run(again)
    assert (again.out / "training.json").read_text() == (made.out / "training.json").read_text()


def test_an_adapter_of_another_base_is_refused(
    context, base, base_artifact, conversations, tmp_path
):
    start = tmp_path / "start"
    start.mkdir()
    trained = {"id": "other-base", "digest": "e" * 64, "quantize": "nf4"}
    (start / "training.json").write_text(json.dumps({"base": trained}))
    spec = spec_of(base)
    spec["train"]["b"] = spec["train"]["a"] | {"start": "a"}
    inputs = {"base": base_artifact, "render": conversations, "start": start}
    with pytest.raises(UsageError, match=r"trained on another base \(other-base, nf4\)"):
        train_step.job_of(context("train.b", spec, inputs), detect())


def test_the_job_is_plain_json_and_the_same_each_time(context, base, base_artifact, conversations):
    made = context("train.a", spec_of(base), {"base": base_artifact, "render": conversations})
    job = train_step.job_of(made, detect())
    assert json.loads(json.dumps(job)) == job
    assert job["base"]["dtype"] == "float32"


def test_a_source_of_preferences_feeds_a_corpus(tmp_path, corpus):
    """Preference records give their prompt and the chosen answer, in chat markers."""
    from tuneforge.worker.scratch import documents

    table = pq.read_table(corpus)
    row = table.to_pylist()[-1]
    row |= {"kind": "preference", "chosen": [row["messages"][1]], "messages": row["messages"][:1]}
    path = tmp_path / "records.parquet"
    pq.write_table(pa.Table.from_pylist([row], schema=table.schema), path)
    assert list(documents(path)) == [list(documents(Path(corpus)))[-1]]
