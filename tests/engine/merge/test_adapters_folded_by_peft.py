"""Adapters that PEFT folds: every element equal to merge_and_unload, and said in the plan."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.merge import AdapterInput, LoraMerge, TiesMerge

from tuneforge.cli.lines import Lines
from tuneforge.merge import by_peft
from tuneforge.merge.adapter_kinds import BY_PEFT, kind_by_peft
from tuneforge.merge.describe import plan_lines, plan_values
from tuneforge.merge.execute import merge_into, plan_from
from tuneforge.merge.resolve import InputFolder
from tuneforge.runs import run_job
from tuneforge.weights import open_weights

LINEAR = ["q_proj", "v_proj", "down_proj"]
# kind -> what its configuration needs on a tiny model, besides target modules
SETTINGS: dict[str, dict[str, Any]] = {
    "ADALORA": {"total_step": 10},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 16},
    "DELORA": {"r": 4},
    "FOURIERFT": {"n_frequency": 20},
    "GRALORA": {"r": 4, "gralora_k": 2},
    "HIRA": {"r": 4},
    "HRA": {"r": 4},
    "IA3": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "LOHA": {"r": 4},
    "LOKR": {"r": 4},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 4, "r": 0},
    "PVERA": {"r": 4},
    "RANDLORA": {"r": 4},
    "ROAD": {"group_size": 4},
    "SHIRA": {"r": 2},
    "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"], "token_indices": [1, 5]},
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "VERA": {"r": 8},
    "WAVEFT": {"n_frequency": 20},
}


def test_every_kind_has_a_test() -> None:
    assert set(SETTINGS) == BY_PEFT


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small base in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("zoo")
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=96, tie_word_embeddings=False,
        )
    )  # fmt: skip
    model.to(torch.bfloat16).save_pretrained(folder / "base")
    return folder


def loaded(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def adapter(zoo: Path, kind: str, name: str = "", **settings: Any) -> Path:
    """Save an adapter of a kind, its weights moved away from where they start."""
    import torch
    from peft import get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    folder = zoo / (name or kind.lower())
    if folder.exists():
        return folder
    keys = {"target_modules": LINEAR, "task_type": "CAUSAL_LM", **SETTINGS.get(kind, {})}
    torch.manual_seed(1)
    wrapped = get_peft_model(
        loaded(zoo / "base"), PEFT_TYPE_TO_CONFIG_MAPPING[kind](**keys | settings)
    )
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    wrapped.save_pretrained(folder)
    return folder


def folded(zoo: Path, out: Path, *adapters: Path, **spec: Any) -> dict[str, Any]:
    """Merge as `tuneforge merge` does, in a worker."""
    inputs = tuple(AdapterInput(adapter=str(folder)) for folder in adapters)
    out.mkdir()
    return merge_into(
        out,
        base=zoo / "base",
        base_facts={},
        base_dtype="auto",
        spec=LoraMerge(method="lora", inputs=inputs, **spec),
        inputs=[InputFolder(folder.name, folder, True, {}) for folder in adapters],
        seed=0,
        threads=2,
        progress=lambda done, total: None,
        run_job=lambda job: (
            run_job(out.with_name("run"), job | {"threads": 1}, Lines(quiet=True)).output
        ),
    )


def equal_to_peft(zoo: Path, out: Path, *adapters: Path) -> None:
    from peft import PeftModel

    model = loaded(zoo / "base")
    for folder in adapters:
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    theirs = out.with_name("theirs")
    model.save_pretrained(theirs)
    expected, base, found = (open_weights(f) for f in (theirs, zoo / "base", out))
    assert set(found) == set(expected)
    moved = 0
    for name in expected:
        assert found.read(name).tobytes() == expected.read(name).tobytes(), name
        moved += found.read(name).tobytes() != base.read(name).tobytes()
    assert moved


@pytest.mark.train
def test_a_worker_gives_pefts_result(zoo: Path, tmp_path: Path) -> None:
    folder = adapter(zoo, "VERA")
    folded(zoo, tmp_path / "out", folder)
    equal_to_peft(zoo, tmp_path / "out", folder)


@pytest.mark.train
@pytest.mark.parametrize("kind", sorted(BY_PEFT))
def test_each_kind_is_folded_as_peft_folds_it(
    zoo: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: starting twenty workers would take minutes."""
    from types import SimpleNamespace

    from tuneforge.worker.fold import fold

    folder = adapter(zoo, kind)
    output = tmp_path / "output"
    output.mkdir()

    def here(job: dict[str, Any]) -> Path:
        fold(job, SimpleNamespace(phase=lambda _: None, output=output, summary={}))  # type: ignore[arg-type]
        return output

    out = tmp_path / "out"
    out.mkdir()
    spec = LoraMerge(method="lora", inputs=(AdapterInput(adapter=str(folder)),))
    inputs = [InputFolder(kind, folder, True, {})]
    report = merge_into(
        out, base=zoo / "base", base_facts={}, base_dtype="auto", spec=spec, inputs=inputs,
        seed=0, threads=1, progress=lambda done, total: None, run_job=here,
    )  # fmt: skip
    equal_to_peft(zoo, out, folder)
    plan = plan_from(zoo / "base", {}, "auto", spec, inputs, 0)
    touched = {tensor.name for tensor in plan.tensors if tensor.action == "peft"}
    assert touched == {tensor["name"] for tensor in report["tensors"]}
    assert plan_values(plan, 2)["through_torch"] == {kind: kind}
    assert plan.peak_memory(2) > plan.base.weights.nbytes
    assert any("through torch" in line for line in plan_lines(plan, 2))


@pytest.mark.train
def test_several_kinds_in_turn_with_another_dtype(zoo: Path, tmp_path: Path) -> None:
    both = adapter(zoo, "VERA"), adapter(zoo, "LORA", r=4)
    report = folded(zoo, tmp_path / "out", *both)
    equal_to_peft(zoo, tmp_path / "out", *both)
    assert report["inputs"][0]["label"] == "vera + lora"


@pytest.mark.train
def test_a_lora_with_trained_tokens(zoo: Path, tmp_path: Path) -> None:
    folder = adapter(zoo, "LORA", "tokens", r=4, trainable_token_indices={"embed_tokens": [2, 3]})
    assert kind_by_peft(folder, json.loads((folder / "adapter_config.json").read_text()))
    folded(zoo, tmp_path / "out", folder)
    equal_to_peft(zoo, tmp_path / "out", folder)


@pytest.mark.train
def test_onto_the_weights_an_nf4_base_computes_with(zoo: Path, tmp_path: Path) -> None:
    """What the adapter adds is the same; what it adds it to is what NF4 made of the base."""
    import torch
    from peft import PeftModel

    from tuneforge.merge.base import Onto, base_rows, is_quantised
    from tuneforge.merge.model import open_model

    folder = adapter(zoo, "VERA")
    folded(zoo, tmp_path / "out", folder, onto="dequantised", dtype="bfloat16")
    base, model = open_model(zoo / "base"), loaded(zoo / "base")
    for name, parameter in model.named_parameters():
        if is_quantised(name, tuple(parameter.shape)):
            rows = base_rows(base, name, Onto("BF16")).rows(0, parameter.shape[0])
            parameter.data.copy_(torch.from_numpy(rows))
    expected = PeftModel.from_pretrained(model, folder).merge_and_unload().state_dict()
    found = open_weights(tmp_path / "out")
    for name, value in expected.items():
        assert found.read(name).tobytes() == value.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.train
def test_the_command_leaves_no_run_behind(zoo: Path, tmp_path: Path) -> None:
    spec = (
        f'spec = 1\n[build]\nname = "x"\n[base]\nmodel = "{zoo / "base"}"\n[merge.m]\n'
        f'method = "lora"\ninputs = [{{ adapter = "{adapter(zoo, "VERA")}" }}]\n'
    )
    (tmp_path / "plan.toml").write_text(spec)
    command = [sys.executable, "-m", "tuneforge", "merge", "plan.toml"]
    plan = subprocess.run(
        [*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "VERA adapter, through torch" in plan.stdout
    subprocess.run([*command, "-o", "out"], cwd=tmp_path, capture_output=True, check=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "config.json", "generation_config.json", "merge.json", "model.safetensors"
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"plan.toml", "out"}
    equal_to_peft(zoo, tmp_path / "out", adapter(zoo, "VERA"))


def given(folder: Path, kind: str, **config: Any) -> list[InputFolder]:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": kind, **config}))
    return [InputFolder("a", folder, True, {})]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("PREFIX_TUNING", "a PREFIX_TUNING adapter cannot be merged: it acts on the model's input"),
        ("PROMPT_TUNING", "attention cache"),
        ("XLORA", "weighs several adapters"),
        ("NEW_KIND", "no merge of that kind is known"),
    ],
)
def test_kinds_without_a_place_in_the_weights_are_refused_by_name(
    tmp_path: Path, kind: str, said: str
) -> None:
    spec = LoraMerge(method="lora", inputs=(AdapterInput(adapter="a"),))
    with pytest.raises(DataError, match=said):
        by_peft.kinds_by_peft(spec, given(tmp_path / "a", kind))


def test_other_methods_and_weights_are_refused_with_the_way_round(tmp_path: Path) -> None:
    inputs = given(tmp_path / "a", "VERA")
    ties = TiesMerge(method="ties", inputs=(AdapterInput(adapter="a"),))
    with pytest.raises(DataError, match="into its base alone") as caught:
        by_peft.kinds_by_peft(ties, inputs)
    assert 'method = "lora"' in caught.value.fix
    half = LoraMerge(method="lora", inputs=(AdapterInput(adapter="a", weight=0.5),))
    with pytest.raises(DataError, match="whole"):
        by_peft.kinds_by_peft(half, inputs)
    union = LoraMerge(method="lora", inputs=(AdapterInput(adapter="a"),), tokenizer="union")
    with pytest.raises(DataError, match="vocabulary"):
        by_peft.kinds_by_peft(union, inputs)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_peft, "find_spec", lambda name: None if name == "peft" else object())
    with pytest.raises(EnvironmentMissing, match="through torch; not installed: peft") as caught:
        by_peft.check_packages({"a": "VERA"})
    assert caught.value.exit_code == 6
    assert "tuneforge[train]" in caught.value.fix


def test_a_build_says_so_in_its_plan_and_asks_for_packages_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneforge_specs.loader import load

    from tuneforge.build import preflight
    from tuneforge.device import Device
    from tuneforge.plan.builder import make_plan
    from tuneforge.plan.forecast import forecast
    from tuneforge.plan.foretell import forecast_lines
    from tuneforge.workspace import Workspace

    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    given(tmp_path / "vera", "VERA")
    (tmp_path / "spec.toml").write_text(
        'spec = 1\n[build]\nname = "x"\n[base]\nmodel = "base"\n[merge.m]\n'
        'method = "lora"\ninputs = [{ adapter = "vera" }]\n'
    )
    loaded = load(tmp_path / "spec.toml")
    plan = make_plan(loaded, Workspace(tmp_path / "work"))
    told = forecast(plan, loaded.spec, Device("cpu", "a CPU", 1 << 30))
    assert any(
        line.startswith("merge.m: through torch: PEFT folds vera (VERA)")
        for line in forecast_lines(told, nothing_to_do=False)
    )
    assert told.as_json()["merge"] == list(told.merges)
    monkeypatch.setattr(preflight, "installed", lambda package: package != "peft")
    with pytest.raises(EnvironmentMissing, match=r"merge\.m needs packages .*: peft") as caught:
        preflight.check(plan, loaded.spec)
    assert "tuneforge[train]" in caught.value.fix
    (tmp_path / "ties.toml").write_text(
        (tmp_path / "spec.toml").read_text().replace('"lora"', '"ties"')
    )
    ties = load(tmp_path / "ties.toml")
    with pytest.raises(DataError, match="vera: a VERA adapter is folded by PEFT"):
        preflight.check(make_plan(ties, Workspace(tmp_path / "work")), ties.spec)
    given(tmp_path / "vera", "PREFIX_TUNING")
    with pytest.raises(DataError, match="PREFIX_TUNING adapter cannot be merged"):
        preflight.check(plan, loaded.spec)


@pytest.mark.train
def test_an_adapter_of_another_base_is_refused(zoo: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    for name, change in (("elsewhere", "layers.9"), ("partly", "layers.0")):
        folder = tmp_path / name
        folder.mkdir()
        made = adapter(zoo, "IA3")
        tensors = load_file(made / "adapter_model.safetensors")
        kept = (
            {key.replace("layers.", "blocks."): value for key, value in tensors.items()}
            if name == "elsewhere"
            else {key: value for key, value in tensors.items() if change in key}
        )
        save_file(kept, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text((made / "adapter_config.json").read_text())
    with pytest.raises(DataError, match="none of its parts"):
        folded(zoo, tmp_path / "out1", tmp_path / "elsewhere")
    with pytest.raises(DataError, match="missing adapter keys"):
        folded(zoo, tmp_path / "out2", tmp_path / "partly")
