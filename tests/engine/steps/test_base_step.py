"""The base step, up to where a worker takes over."""

import json

import pytest
from tuneforge_specs.errors import DataError, EnvironmentMissing

from tuneforge.steps import base


def test_a_local_folder_is_checked_described_and_linked(context, model_folder):
    made = context("base", {})
    base.run(made)
    assert (made.out / "model").is_symlink()
    assert (made.out / "model" / "model.safetensors").samefile(model_folder / "model.safetensors")
    facts = json.loads((made.out / "base.json").read_text())
    assert facts["id"] == "base"
    assert facts["architecture"] == "LlamaForCausalLM"
    assert len(facts["digest"]) == 64


def test_the_digest_is_that_of_the_content_and_not_of_the_place(context, model_folder, tmp_path):
    first = context("base", {})
    base.run(first)
    model_folder.rename(tmp_path / "moved")
    moved = context("base.moved", {"base": {"model": "moved"}})
    base.run(moved)
    weights = tmp_path / "moved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    other = context("base.other", {"base": {"model": "moved"}})
    base.run(other)
    digests = [
        json.loads((c.out / "base.json").read_text())["digest"] for c in (first, moved, other)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("remove", "add", "said", "fix"),
    [
        ("config.json", None, "no config.json", "complete Hugging Face model folder"),
        ("tokenizer.json", None, "no tokenizer.json", "AutoTokenizer"),
        ("model.safetensors", None, r"no \*.safetensors", "safetensors"),
        ("model.safetensors", "pytorch_model.bin", "legacy pickle weights", "save_pretrained"),
    ],
)
def test_an_incomplete_folder_is_refused_with_the_way_out(
    context, model_folder, remove, add, said, fix
):
    (model_folder / remove).unlink()
    if add:
        (model_folder / add).touch()
    with pytest.raises(EnvironmentMissing, match=said) as caught:
        base.run(context("base", {}))
    assert fix in caught.value.fix


def test_damaged_weights_are_refused_before_anything_trains_on_them(context, model_folder):
    (model_folder / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(DataError, match=r"model\.safetensors: not a valid"):
        base.run(context("base", {}))


def test_a_missing_shard_is_named(context, model_folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (model_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EnvironmentMissing, match=r"1 of 2 shards \(model-00002"):
        base.run(context("base", {}))


def test_a_model_that_is_nowhere_says_how_to_get_it(context, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentMissing, match="some/model is no folder") as caught:
        base.run(context("base", {"base": {"model": "some/model"}}))
    assert "hf download some/model" in caught.value.fix
