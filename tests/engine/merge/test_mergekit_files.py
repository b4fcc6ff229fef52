"""mergekit's YAML: what it becomes, what it merges to, and what is refused by name."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import SpecError, UsageError

from tuneforge.cli.lines import Lines
from tuneforge.merge.mergekit.convert import spec_from
from tuneforge.merge.mergekit.load import load_mergekit
from tuneforge.merge.standalone import merges_of

DATA = Path(__file__).parent / "data"
SUITES = {
    suite: json.loads((DATA / f"{suite}_cases.json").read_text())
    for suite in ("mergekit", "gradients")
}


def converted(text: str) -> dict[str, Any]:
    return spec_from(yaml.safe_load(text), "plan")


def merge_of(text: str) -> dict[str, Any]:
    table: dict[str, Any] = converted(text)["merge"]["merged"]
    return table


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models that mergekit's stored results were made from, as folders."""
    found = {}
    for suite in SUITES:
        root = tmp_path_factory.mktemp(suite)
        groups: dict[str, dict[str, np.ndarray]] = {}
        for key, values in load_file(DATA / f"{suite}_results.safetensors").items():
            group, name = key.split("/")
            groups.setdefault(group, {})[name] = values
        for group, tensors in groups.items():
            (root / group).mkdir()
            save_file(tensors, root / group / "model.safetensors")
            config = {"model_type": "llama", "dtype": "float32", "tie_word_embeddings": False}
            (root / group / "config.json").write_text(json.dumps(config))
        found[suite] = root
    return found


@pytest.mark.parametrize("case", [f"{suite}/{name}" for suite in SUITES for name in SUITES[suite]])
def test_a_file_merges_to_what_mergekit_made_of_it(
    models: dict[str, Path], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, name = case.split("/")
    settings = SUITES[suite][name]
    monkeypatch.chdir(models[suite])
    config = {
        "merge_method": settings["method"],
        "dtype": "float32",
        "models": [{"model": m, "parameters": p} for m, p in settings["models"].items()],
        "parameters": settings["theirs"],
    }
    if settings["base"]:
        config["base_model"] = settings["base"]
    file = tmp_path / "plan.yml"
    file.write_text(yaml.safe_dump(config))
    loaded, _ = load_mergekit(file)
    (one,) = merges_of(loaded)
    one.write(tmp_path / "out", 1, lambda done, total: None, Lines(quiet=True))
    result = load_file(tmp_path / "out" / "model.safetensors")
    for tensor, values in load_file(models[suite] / name / "model.safetensors").items():
        assert np.abs(result[tensor] - values).max() <= 2e-5 * np.abs(values).max(), tensor


def test_slices_of_whole_models_are_the_models(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models["gradients"])
    text = """
slices:
  - sources:
      - {model: one, layer_range: [0, 5]}
      - {model: two, layer_range: [0, 5]}
merge_method: slerp
base_model: one
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 1]}
    - value: 5e-1
dtype: bfloat16
"""
    assert converted(text) == {
        "spec": 1,
        "build": {"name": "plan"},
        "base": {"model": "one"},
        "merge": {
            "merged": {
                "method": "slerp",
                "inputs": [{"model": "two"}],
                "t": [{"filter": "self_attn", "value": [0, 0.5, 1]}, {"value": 0.5}],
                "dtype": "bfloat16",
            }
        },
    }


def test_scopes_of_parameters_are_joined() -> None:
    text = """
merge_method: ties
base_model: base
models:
  - {model: base}
  - {model: a, parameters: {weight: {filter: mlp, value: 0.2}, density: [0.1, 0.9]}}
  - {model: b, parameters: {weight: 1}}
parameters: {weight: 0.5, density: 0.7, normalize: true, int8_mask: true, lambda: 1e-1}
"""
    merge = merge_of(text)
    assert merge["inputs"] == [
        {"model": "a", "weight": [{"filter": "mlp", "value": 0.2}, {"value": 0.5}],
         "density": [0.1, 0.9]},
        {"model": "b", "weight": 1, "density": 0.7},
    ]  # fmt: skip
    assert merge["normalize"] is True
    assert merge["lambda"] == 0.1


def test_stacked_slices() -> None:
    text = """
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 16]}]
  - sources:
      - model: b
        layer_range: [8, 16]
        parameters: {scale: [{filter: o_proj, value: 0.0}, {value: 1.0}]}
  - sources: [{model: a, layer_range: [16, 32]}]
"""
    merge = merge_of(text)
    assert merge["inputs"] == [{"model": "a"}, {"model": "b"}]
    assert [part["input"] for part in merge["slices"]] == [0, 1, 0]
    assert merge["slices"][1]["layers"] == [8, 16]
    assert merge["slices"][1]["scale"][0] == {"filter": "o_proj", "value": 0.0}


def test_references_with_revisions_and_adapters() -> None:
    text = """
merge_method: task_arithmetic
base_model: acme/base@v2
models:
  - {model: "acme/base@v2+adapters/sql", parameters: {weight: 0.4}}
  - {model: {model: {path: acme/base, revision: v2}, lora: chat}, parameters: {weight: 0.6}}
"""
    spec = converted(text)
    assert spec["base"] == {"model": "acme/base", "revision": "v2"}
    assert spec["merge"]["merged"]["inputs"] == [
        {"adapter": "adapters/sql", "weight": 0.4},
        {"adapter": "chat", "weight": 0.6},
    ]


HEADS_APART = """
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 1]}]
  - sources: [{model: b, layer_range: [0, 1]}]
"""
CUT = """
merge_method: slerp
base_model: a
slices:
  - sources: [{model: a, layer_range: [1, 4]}, {model: b, layer_range: [1, 4]}]
"""
TWO = "models: [{model: a}, {model: b}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "not a mergekit"),
        ("merge_method: tise\n" + TWO, r"merge_method: 'tise'.*(?s:.*)`ties`"),
        ("merge_method: ram\n" + TWO, "merge_method: 'ram' is not supported"),
        ("merge_method: linear\nchat_template: auto\n" + TWO, "chat_template"),
        ("merge_method: linear\nmodules: {}\n", "modules"),
        ("merge_method: linear\nmodls: []\n", "modls(?s:.*)models"),
        ("merge_method: linear\n", "models: no list"),
        ("merge_method: linear\nmodels: [{model: a, parameters: {wait: 1}}]",
         r"models\[0\]\.parameters\.wait(?s:.*)`weight`"),
        ("merge_method: linear\nmodels: [{model: a, parameters: {weight: x}}]", "'x' is not a num"),
        ("merge_method: linear\nbase_model: c\n" + TWO, "needs a weight"),
        ("merge_method: linear\nmodels: [{model: a@v1}]", "revision 'v1'"),
        ("merge_method: ties\n" + TWO, "base_model: ties needs one"),
        ("merge_method: ties\nbase_model: a\nparameters: {rescale: true}\n" + TWO, "rescale"),
        ("merge_method: ties\nbase_model: a\nmodels: [{model: b+lora}]", "which is not the base"),
        ("merge_method: slerp\nbase_model: c\nparameters: {t: 0.5}\n" + TWO, "base and one other"),
        ("merge_method: nuslerp\nparameters: {nuslerp_row_wise: true}\n" + TWO, "row_wise"),
        ("merge_method: linear\ndtype: float64\n" + TWO, "dtype: 'float64'"),
        ("merge_method: linear\nslices: []\n" + TWO, "cannot stand beside"),
        ("merge_method: passthrough\n", "needs them"),
        (HEADS_APART, "the last of b"),
        (CUT, "not the whole model"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        converted(text)


def test_broken_files_and_values_out_of_range(tmp_path: Path) -> None:
    file = tmp_path / "plan.yml"
    for text, message in [("a: [", "broken YAML"), ("a: 1\n---\na: 2", "2 YAML documents")]:
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            load_mergekit(file)
    file.write_text("merge_method: slerp\nbase_model: a\nparameters: {t: 2}\n" + TWO)
    with pytest.raises(SpecError, match=r"plan.yml as TOML: merge.merged.t: must be at most 1"):
        load_mergekit(file)


def test_the_command_shows_the_toml(models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "plan.yml"
    file.write_text(
        "merge_method: slerp\nbase_model: one\nparameters: {t: [0, 1]}\n"
        "models: [{model: one}, {model: two}]\n"
    )
    program = [sys.executable, "-m", "tuneforge", "merge", str(file), "--dry-run"]
    done = subprocess.run(
        program, cwd=models["gradients"], capture_output=True, text=True, check=True
    )
    toml, _, plan = done.stdout.partition("\nmerge merged\n")
    assert tomllib.loads(toml)["merge"]["merged"]["t"] == [0, 1]
    assert "slerp" in plan
