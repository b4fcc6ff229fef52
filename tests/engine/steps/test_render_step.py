"""The render step as the build calls it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tuneforge_specs.spec import Spec

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
        "train.parquet", "eval.parquet", "verdicts.parquet", "rendering.json",
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


def test_importing_the_step_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, tuneforge.steps.render; sys.exit(any(m in sys.modules for m in "
        "('pyarrow', 'jinja2', 'tokenizers', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
