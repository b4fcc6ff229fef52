"""The render step as the build calls it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tuneforge_specs.spec import Spec

from tuneforge.manifest import content_digest, describe_files, write_manifest
from tuneforge.step import Artifact, Step, StepContext
from tuneforge.steps import render

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float64())])


class Reports:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.warned: list[str] = []
        self.at: list[tuple[float, float]] = []

    def progress(self, done: float, total: float, unit: str = "") -> None:
        self.at.append((done, total))

    def log(self, message: str) -> None:
        self.logged.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def metrics(self, values) -> None:
        raise AssertionError(values)


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    model = tmp_path / "base" / "model"
    model.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["some words"], trainer)
    tokenizer.save(str(model / "tokenizer.json"))
    (model / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    kept = tmp_path / "dataset"
    kept.mkdir()
    rows = [
        {
            "id": f"s:{number}",
            "kind": "instruction",
            "system": "",
            "messages": [
                {"role": "user", "content": "say"},
                {"role": "assistant", "content": "xyz " * (number + 1)},
            ],
            "tools": "",
            "split": "eval" if number == 0 else "train",
        }
        for number in range(6)
    ]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "kind", "system", "tools", "split")),
            ("messages", pa.list_(MESSAGE)),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), kept / "kept.parquet")
    template = {"chat": "own.jinja", "max_tokens": 25}
    spec = Spec.model_validate(
        {
            "spec": 1,
            "build": {"name": "b"},
            "sources": {"s": {"path": "x.jsonl"}},
            "datasets": {"d": {"from": [{"source": "s"}], "template": template}},
            "base": {"model": "m"},
        }
    )
    # The tokenizer knows few words: three of the answers are too long.
    (tmp_path / "own.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}"
        "{{ eos_token }}{% endgeneration %}{% else %}Q: {{ m.content }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A: {% endif %}"
    )
    out = tmp_path / "out"
    out.mkdir()
    return StepContext(
        step=Step("render.d", "render", "d", {}, {"dataset": "dataset.d", "base": "base"}),
        spec=spec,
        spec_dir=tmp_path,
        workspace=tmp_path / ".tuneforge",
        key="k",
        out=out,
        inputs={
            "dataset": Artifact("dataset.d", "k", "d", kept, {}),
            "base": Artifact("base", "k", "d", model.parent, {}),
        },
        report=Reports(),
        seed=17,
        threads=2,
    )


def test_it_writes_what_trainers_read_and_says_what_it_left_out(context: StepContext) -> None:
    render.run(context)
    assert {file.name for file in context.out.iterdir()} == {
        "train.parquet", "eval.parquet", "verdicts.parquet", "reuse.parquet", "rendering.json",
    }  # fmt: skip
    about = json.loads((context.out / "rendering.json").read_text())
    assert about["max_tokens"] == 25
    assert pq.read_table(context.out / "eval.parquet")["reference"].to_pylist() == ["xyz"]
    report = context.report
    assert isinstance(report, Reports)
    assert report.at[-1] == (6, 6)
    assert about["counts"]["dropped"] > 0
    assert f"{about['counts']['dropped']} records dropped" in report.warned[0]
    assert f"{about['counts']['train']} rows to train on" in report.logged[0]


def rebuilt(context: StepContext, key: str) -> StepContext:
    """Run the step as a build does: its output becomes an artifact of the workspace."""
    context = replace(context, key=key, out=context.out.with_name(key), notes={}, report=Reports())
    context.out.mkdir()
    render.run(context)
    place = context.workspace / "artifacts" / "render" / "d" / key
    shutil.copytree(context.out, place)
    files = describe_files(place)
    write_manifest(
        place,
        {"v": 1, "step": "render.d", "key": key, "files": files, "notes": context.notes}
        | {"digest": content_digest(files), "created": len(key)},
    )
    return context


def shorten_an_answer(context: StepContext, number: int) -> None:
    kept = context.inputs["dataset"].path / "kept.parquet"
    table = pq.read_table(kept)
    rows = table.to_pylist()
    rows[number]["messages"][1]["content"] = "xyz"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), kept)


def test_records_that_did_not_change_are_not_tokenised_again(context: StepContext) -> None:
    assert rebuilt(context, "k").notes["reused_records"] == 0
    shorten_an_answer(context, 2)
    second = rebuilt(context, "kk")
    assert second.notes["reused_records"] == 5
    report = second.report
    assert isinstance(report, Reports)
    assert report.logged[0].startswith("5 records are as in an earlier rendering")
    shutil.rmtree(context.workspace)
    alone = rebuilt(context, "alone")
    assert alone.notes["reused_records"] == 0
    for file in alone.out.iterdir():
        assert file.read_bytes() == (second.out / file.name).read_bytes()


def test_a_damaged_rendering_is_not_built_upon(context: StepContext) -> None:
    good = rebuilt(context, "k").out
    place = context.workspace / "artifacts" / "render" / "d" / "k"
    train = place / "train.parquet"
    train.write_bytes(train.read_bytes().replace(b"s:1", b"s:9"))
    again = rebuilt(context, "kk")
    assert again.notes["reused_records"] == 0
    assert (again.out / "train.parquet").read_bytes() == (good / "train.parquet").read_bytes()


@pytest.mark.parametrize("spoiled", ["{", '{"v": 1}', ""])
def test_a_damaged_manifest_is_passed_over(context: StepContext, spoiled: str) -> None:
    rebuilt(context, "k")
    manifest = context.workspace / "artifacts" / "render" / "d" / "k" / "manifest.json"
    manifest.write_text(spoiled)
    assert rebuilt(context, "kk").notes["reused_records"] == 0


def test_a_rendering_asked_for_anew_is_made_from_nothing(context: StepContext) -> None:
    rebuilt(context, "k")
    again = replace(context, key="k", notes={})
    render.run(again)
    assert again.notes["reused_records"] == 0


def test_importing_the_step_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, tuneforge.steps.render; sys.exit(any(m in sys.modules for m in "
        "('pyarrow', 'jinja2', 'tokenizers', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
