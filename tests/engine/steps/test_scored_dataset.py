"""A dataset that asks the base: planned as such, scored in a worker, and only once."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_datastore.sql import query
from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.loader import load

from tuneforge.build import preflight
from tuneforge.cli import main
from tuneforge.plan.builder import make_plan
from tuneforge.workspace import Workspace

SPEC = """
spec = 1
[build]
name = "scored"
[sources.s]
path = "s.jsonl"
[base.scratch]
corpus = ["s"]
hidden = 32
layers = 1
heads = 2
kv_heads = 2
intermediate = 64
vocab = 300
context = 64
steps = 4
batch = 2
sequence = 16
[datasets.d]
from = [{ source = "s" }]
filters = [
  { kind = "length", unit = "tokens", of = "completion", max = 30 },
  { kind = "perplexity", max = 1e6, micro_batch = 4 },
  { kind = "difficulty", max = 100 },
]
split = { eval = 0.0 }
[datasets.plain]
from = [{ source = "s" }]
split = { eval = 0.0 }
"""
SCORES = "SELECT id, score, reason FROM ledger WHERE dataset = 'd' AND verdict = 'kept' ORDER BY id"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Count to {n}", "completion": f"{n} and {n * 7}"} for n in range(8)]
    rows.append({"prompt": "Go on", "completion": "and on " * 30})
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "spec.toml"
    file.write_text(SPEC)
    return file


def planned(spec: Path) -> Any:
    return make_plan(load(spec), Workspace.of(spec))


def test_a_plan_shows_that_the_base_is_needed(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = {step.step.id: step.step for step in planned(spec)}
    assert steps["dataset.d"].inputs["base"] == "base"
    assert "base" not in steps["dataset.plain"].inputs
    assert steps["dataset.d"].params["base.quantize"] == "none"
    assert not any("micro_batch" in key for key in steps["dataset.d"].params)
    assert main(["plan", str(spec)]) == 0
    said = capsys.readouterr().out
    assert "dataset.d: needs the base model" in said
    assert "(perplexity, difficulty)" in said
    order = [line.split()[1] for line in said.splitlines() if line.startswith("run ")]
    assert order.index("base") < order.index("dataset.d")
    assert main(["plan", str(spec), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["forecast"]["scored_by_base"]
    assert told == {"dataset.d": ["perplexity", "difficulty"]}


def test_counting_tokens_needs_the_tokenizer_and_no_precision(spec: Path) -> None:
    lines = [line for line in SPEC.splitlines() if "perplexity" not in line]
    spec.write_text("\n".join(line for line in lines if "difficulty" not in line))
    (step,) = (one.step for one in planned(spec) if one.step.id == "dataset.d")
    assert step.inputs["base"] == "base"
    assert not any(key.startswith("base.") for key in step.params)


def test_scoring_without_its_packages_is_found_before_anything_runs(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "installed", lambda package: package != "transformers")
    plan = planned(spec)
    steps = [step for step in plan if step.step.id != "base"]
    with pytest.raises(EnvironmentMissing, match=r"dataset\.d needs packages"):
        preflight.check(
            type(plan)(plan.name, plan.spec, plan.workspace, tuple(steps)), load(spec).spec
        )


@pytest.mark.train
def test_a_build_scores_once(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(spec)]) == 0, capsys.readouterr().err
    workspace = spec.parent / ".tuneforge"
    rows = query(workspace, SCORES).rows
    assert [row[0] for row in rows] == [f"s:{n}" for n in range(8)]
    assert all(1 < row[1] < 1e6 and row[2].count("perplexity") == 1 for row in rows)
    assert all("; difficulty " in row[2] for row in rows)
    runs = query(workspace, "SELECT kind, state FROM runs WHERE step = 'dataset.d'").rows
    assert runs == [("score", "done")] * 2
    assert not list(workspace.glob("runs/dataset.d/*/asked.parquet"))
    # Another limit asks the base for nothing; the drops are told with their scores.
    middle = sorted(row[1] for row in rows)[3]
    spec.write_text(SPEC.replace("max = 1e6", f"max = {middle}"))
    assert main(["build", str(spec)]) == 0
    dropped = query(workspace, "SELECT score FROM d_dropped WHERE rule = 'perplexity'").rows
    assert len(dropped) == 4
    assert all(score > middle for (score,) in dropped)
    assert len(query(workspace, "SELECT * FROM runs WHERE step = 'dataset.d'").rows) == 2
    # How many go through at once is no other dataset.
    spec.write_text(spec.read_text().replace("micro_batch = 4", "micro_batch = 2"))
    assert planned(spec).done


@pytest.mark.train
def test_a_smoke_build_drops_nothing_by_the_scores_of_a_random_model(spec: Path) -> None:
    spec.write_text(SPEC.replace("max = 1e6", "max = 1.0001"))
    assert main(["build", str(spec), "--smoke"]) == 0
