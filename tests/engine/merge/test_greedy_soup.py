"""Greedy soup: the paper's recipe on numbers, and a whole build against averages made by torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tuneforge_specs.errors import SpecError, UsageError
from tuneforge_specs.loader import load

from tuneforge.build import preflight
from tuneforge.merge.soup import Trial, greedy
from tuneforge.merge.standalone import merges_of
from tuneforge.plan.builder import make_plan
from tuneforge.workspace import Workspace

SPEC = """spec = 1
[build]
name = "soup"
[base]
model = "base"
[sources.words]
path = "words.jsonl"
[datasets.words]
from = [{ source = "words" }]
split = { eval = 0.3, by = "record" }
dedup = { near = false }
template = { chat = "chatml", max_tokens = 64 }
[merge.soup]
method = "greedy_soup"
inputs = [{ model = "noisy" }, { model = "first" }, { model = "second" }]
evaluate = "held-out"
[evaluate.held-out]
model = "soup"
dataset = "words"
metrics = ["loss", "exact-match"]
max_new_tokens = 4
"""


def tried(table: dict[tuple[int, ...], float], count: int, *, lower: bool) -> list[Trial]:
    return greedy(count, lambda places: table[places], lower=lower)


def test_inputs_are_tried_from_the_best_on_and_stay_where_the_average_is_no_worse() -> None:
    accuracy = {(0,): 0.5, (1,): 0.9, (2,): 0.7, (1, 2): 0.9, (0, 1, 2): 0.8}
    assert tried(accuracy, 3, lower=False) == [
        Trial(1, 0.9, 0.9, accepted=True),
        Trial(2, 0.7, 0.9, accepted=True),
        Trial(0, 0.5, 0.8, accepted=False),
    ]


def test_what_was_refused_is_in_no_later_average() -> None:
    losses = {(0,): 1.0, (1,): 2.0, (2,): 3.0, (0, 1): 1.5, (0, 2): 0.9}
    found = tried(losses, 3, lower=True)
    assert [(trial.input, trial.accepted) for trial in found] == [(0, True), (1, False), (2, True)]


def test_equal_scores_keep_the_order_and_what_is_no_number_comes_last() -> None:
    nan = float("nan")
    losses = {(0,): nan, (1,): 1.0, (2,): 1.0, (1, 2): 1.0, (0, 1, 2): nan}
    found = tried(losses, 3, lower=True)
    assert [(trial.input, trial.accepted) for trial in found] == [(1, True), (2, True), (0, False)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "soup.toml").write_text(SPEC)
    return tmp_path / "soup.toml"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('evaluate = "held-out"', 'evaluate = "held-ut"', "there is no evaluation `held-ut`"),
        ('evaluate = "held-out"', 'evaluate = "held-out"\nmetric = "los"', "`los` is not a metric"),
        ('evaluate = "held-out"\n', "", "evaluate"),
        ('{ model = "first" }, { model = "second" }', "", "at least 2 entries, not 1"),
    ],
)
def test_a_soup_that_cannot_be_judged_is_an_error_of_the_spec(
    project: Path, old: str, new: str, said: str
) -> None:
    project.write_text(SPEC.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load(project)
    assert said in str(caught.value)


def test_a_weight_has_no_effect_and_is_warned_of(project: Path) -> None:
    project.write_text(SPEC.replace('"first" }', '"first", weight = 2.0 }'))
    assert any("greedy_soup has no weights" in str(found) for found in load(project).warnings)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a base of random weights, two copies tuned on its words, one of noise."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("kitchen")
    (folder / "soup.toml").write_text(SPEC)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    pairs = [(first, second) for first in words for second in words][:60]
    rows = [{"prompt": f"{a} {b}", "completion": f"{b} {a}"} for a, b in pairs]
    (folder / "words.jsonl").write_text("\n".join(map(json.dumps, rows)))
    marks = ["<unk>", "<|im_start|>", "<|im_end|>"]
    known = [*marks, *words, "user", "assistant", "system", "\n"]
    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(known)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", unk_token="<unk>"
    )
    wrapped.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, vocab_size=len(wrapped), max_position_embeddings=64,
            tie_word_embeddings=False,
        )
    )  # fmt: skip

    def save(name: str) -> None:
        model.save_pretrained(folder / name)
        wrapped.save_pretrained(folder / name)

    save("base")
    texts = [f"<|im_start|>user \n {r['prompt']} <|im_end|> {r['completion']}" for r in rows]
    ids = [torch.tensor([wrapped(text)["input_ids"]]) for text in texts]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for seed, name in enumerate(("first", "second")):
        model.load_state_dict(start)
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for place in torch.randperm(len(ids))[:40].tolist():
            loss = model(input_ids=ids[place], labels=ids[place]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        save(name)
    model.load_state_dict({name: torch.randn_like(value) for name, value in start.items()})
    save("noisy")
    return folder


def run(folder: Path, *words: str, code: int = 0) -> str:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    made = subprocess.run(
        [sys.executable, "-m", "tuneforge", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == code, made.stdout + made.stderr
    return made.stdout + made.stderr


def artifact(folder: Path, step: str) -> Path:
    (state,) = (folder / ".tuneforge" / "state").glob("*.json")
    kind, _, name = step.partition(".")
    key = json.loads(state.read_text())[step][:16]
    return folder / ".tuneforge" / "artifacts" / kind / name / key


def reference_loss(folder: Path, names: list[str]) -> float:
    """Average state dicts in float64 and sum the loss of the held-out rows one by one."""
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
    states = [load_file(folder / name / "model.safetensors") for name in names]
    mean = {n: np.mean([s[n].astype(np.float64) for s in states], axis=0) for n in states[0]}
    model.load_state_dict(
        {n: torch.from_numpy(v.astype(np.float32)) for n, v in mean.items()}, strict=False
    )
    total, count = 0.0, 0
    rows = pq.read_table(artifact(folder, "render.words") / "eval.parquet").to_pylist()
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.inference_mode():
            guesses = model(input_ids=ids).logits[0].double().log_softmax(-1)
        for place, supervised in enumerate(row["loss_mask"]):
            if place and supervised:
                total -= float(guesses[place - 1, row["input_ids"][place]])
                count += 1
    return total / count


@pytest.mark.train
def test_a_build_accepts_by_held_out_scores_and_averages_what_it_accepted(kitchen: Path) -> None:
    said = run(kitchen, "build", "soup.toml")
    soup = artifact(kitchen, "merge.soup")
    report: dict[str, Any] = json.loads((soup / "merge.json").read_text())
    assert report["method"] == "greedy_soup"
    trials = report["soup"]["trials"]
    names = ["noisy", "first", "second"]
    alone = {name: reference_loss(kitchen, [name]) for name in names}
    order = sorted(names, key=alone.__getitem__)
    assert order[-1] == "noisy"
    assert [trial["label"] for trial in trials] == order
    for trial in trials:
        assert trial["alone"] == pytest.approx(alone[trial["label"]], abs=2e-5)
    both = reference_loss(kitchen, ["first", "second"])
    assert trials[1]["together"] == pytest.approx(both, abs=2e-5)
    accepted = [order[0]] + ([order[1]] if both <= alone[order[0]] else [])
    worst = reference_loss(kitchen, [*accepted, "noisy"])
    assert worst > alone[order[0]]
    assert [t["label"] for t in trials if t["accepted"]] == accepted
    assert [source["label"] for source in report["inputs"]] == sorted(accepted)
    merged = load_file(soup / "model" / "model.safetensors")
    states = [load_file(kitchen / name / "model.safetensors") for name in accepted]
    for name, values in merged.items():
        mean = np.mean([state[name].astype(np.float64) for state in states], axis=0)
        assert np.abs(values - mean).max() <= 1e-7 * np.abs(mean).max()
    assert f"noisy: loss {trials[2]['alone']:.6g} alone" in said
    assert "with those before: refused" in said
    measured = json.loads((artifact(kitchen, "evaluate.held-out") / "metrics.json").read_text())
    assert measured["metrics"]["loss"] == pytest.approx(trials[1]["together"], abs=2e-6) or (
        not trials[1]["accepted"]
    )
    assert not list((kitchen / ".tuneforge" / "runs").glob("merge.soup/*/checkpoints/average"))


@pytest.mark.train
def test_a_soup_is_cached_until_what_judges_it_changes(kitchen: Path) -> None:
    run(kitchen, "build", "soup.toml")
    before = artifact(kitchen, "merge.soup")
    gated = SPEC.replace("max_new_tokens = 4", 'max_new_tokens = 4\ngate = ["loss < 100"]')
    (kitchen / "soup.toml").write_text(gated)
    run(kitchen, "build", "soup.toml")
    assert artifact(kitchen, "merge.soup") == before
    (kitchen / "soup.toml").write_text(gated.replace("metrics", "rows = 7\nmetrics"))
    said = run(kitchen, "plan", "soup.toml")
    assert "evaluate.held-out.rows changed 0 -> 7" in said
    assert "merge.soup: 5 averages of 3 inputs measured by evaluate.held-out" in said
    (kitchen / "soup.toml").write_text(
        SPEC.replace('evaluate = "held-out"', 'evaluate = "held-out"\nmetric = "exact-match"')
    )
    said = run(kitchen, "build", "soup.toml")
    assert "exact-match" in said
    report = json.loads((artifact(kitchen, "merge.soup") / "merge.json").read_text())
    assert report["soup"]["metric"] == "exact-match"
    (kitchen / "soup.toml").write_text(SPEC)


@pytest.mark.train
def test_a_killed_soup_measures_only_what_it_had_not_measured(
    kitchen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from tuneforge.worker import soup

    run(kitchen, "build", "soup.toml")
    key = artifact(kitchen, "merge.soup").name
    file = kitchen / ".tuneforge" / "runs" / "merge.soup" / key / "job.json"
    job = json.loads(file.read_text())
    known = {"0": 9.0, "1": 2.0, "2": 3.0}
    (tmp_path / "scores.json").write_text(json.dumps(known))
    measured = []

    def score(self: Any, folder: Path) -> float:
        measured.append(folder)
        return 1.5

    monkeypatch.setattr(soup._Cook, "_measure", score)
    fake = SimpleNamespace(
        checkpoints=tmp_path, output=tmp_path, summary={}, phase=lambda _: None,
        log=lambda _: None, emit=lambda *_, **__: None, stop_requested=lambda: False,
    )  # fmt: skip
    soup.soup(job, fake)  # type: ignore[arg-type]
    trials = json.loads((tmp_path / "soup.json").read_text())
    assert [(t["input"], t["together"], t["accepted"]) for t in trials] == [
        (1, 2.0, True), (2, 1.5, True), (0, 1.5, True)
    ]  # fmt: skip
    assert len(measured) == 2
    assert json.loads((tmp_path / "scores.json").read_text()) == known | {"1,2": 1.5, "0,1,2": 1.5}


@pytest.mark.train
def test_without_a_build_the_plan_is_shown_and_the_merge_refused(kitchen: Path) -> None:
    said = run(kitchen, "merge", "soup.toml", "--dry-run")
    assert "greedy_soup" in said
    assert "held-out" in said
    refused = run(kitchen, "merge", "soup.toml", "-o", "out", code=2)
    assert "tuneforge build merge.soup" in refused
    assert not (kitchen / "out").exists()
    (one,) = merges_of(load(kitchen / "soup.toml"))
    with pytest.raises(UsageError, match="greedy soup"):
        one.check_writable()


@pytest.mark.train
def test_packages_that_measure_are_asked_for_before_anything_runs(
    kitchen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneforge_specs.errors import EnvironmentMissing

    (kitchen / "fresh.toml").write_text(SPEC.replace('"exact-match"', '{ kind = "json-valid" }'))
    loaded = load(kitchen / "fresh.toml")
    plan = make_plan(loaded, Workspace(kitchen / "elsewhere"))
    monkeypatch.setattr(preflight, "installed", lambda package: package != "torch")
    with pytest.raises(EnvironmentMissing, match=r"merge\.soup needs packages .*: torch") as caught:
        preflight.check(plan, loaded.spec)
    assert caught.value.fix == 'pip install "tuneforge[train]"'
