"""What a merge refuses, and that it has written nothing by then."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.merge import Merge

from tuneforge.merge.describe import plan_lines, plan_values
from tuneforge.merge.execute import merge_into, plan_from
from tuneforge.merge.resolve import InputFolder, choose_onto, input_folder
from tuneforge.weights import Entry, ShardWriter

SHAPES = {
    "model.embed_tokens.weight": (50, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.norm.weight": (16,),
}
Q = "base_model.model.model.layers.0.self_attn.q_proj"


def write_model(
    folder: Path, shapes: dict[str, Any] = SHAPES, seed: int = 0, **config: Any
) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    tensors = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | config))
    return folder


def write_adapter(folder: Path, module: str = Q, rows: int = 16, **config: Any) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(3)
    save_file(
        {
            f"{module}.lora_A.weight": generator.normal(size=(4, 16)).astype(np.float32),
            f"{module}.lora_B.weight": generator.normal(size=(rows, 4)).astype(np.float32),
        },
        folder / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "acme/b"}
    (folder / "adapter_config.json").write_text(json.dumps(settings | config))
    return folder


def merge(tmp_path: Path, spec: dict[str, Any], **facts: Any) -> Path:
    parsed = TypeAdapter(Merge).validate_python(spec)
    out = tmp_path / "out"
    merge_into(
        out,
        base=tmp_path / "base",
        base_facts=facts,
        base_dtype="auto",
        spec=parsed,
        inputs=[
            input_folder(entry, Path(getattr(entry, "model", None) or entry.adapter))
            for entry in parsed.inputs
        ],
        seed=0,
        threads=1,
        progress=lambda done, total: None,
    )
    return out


def refused(tmp_path: Path, spec: dict[str, Any], message: str, **facts: Any) -> None:
    with pytest.raises(DataError, match=message) as caught:
        merge(tmp_path, spec, **facts)
    assert caught.value.fix
    assert not (tmp_path / "out").exists()


def lora(folder: Path) -> dict[str, Any]:
    return {"method": "lora", "inputs": [{"adapter": str(folder)}]}


def linear(folder: Path) -> dict[str, Any]:
    return {"method": "linear", "inputs": [{"model": str(folder)}]}


@pytest.mark.parametrize(
    ("shapes", "config", "message"),
    [
        (SHAPES | {"model.embed_tokens.weight": (60, 16)}, {}, "another vocabulary"),
        (SHAPES | {"model.norm.weight": (17,)}, {}, "shape"),
        ({k: v for k, v in SHAPES.items() if "norm" not in k}, {}, "has no model.norm"),
        (SHAPES | {"model.extra.weight": (2,)}, {}, "has model.extra.weight"),
        (SHAPES, {"model_type": "qwen2"}, "a qwen2 model"),
    ],
)
def test_models_that_do_not_match(tmp_path: Path, shapes: Any, config: Any, message: str) -> None:
    write_model(tmp_path / "base")
    refused(tmp_path, linear(write_model(tmp_path / "x", shapes, 1, **config)), message)


def test_an_adapter_of_another_base(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    wrong_shape = write_adapter(tmp_path / "a", rows=20)
    refused(tmp_path, lora(wrong_shape), "has shape")
    wrong_name = write_adapter(tmp_path / "b", Q.replace("layers.0", "layers.9"))
    refused(tmp_path, lora(wrong_name), r"layers\.9.*does not have")


def test_a_base_with_another_digest(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "train" / "adapter")
    facts = {"base": {"digest": "a" * 64, "quantize": "none", "dtype": "float32"}}
    (tmp_path / "train" / "training.json").write_text(json.dumps(facts))
    refused(tmp_path, lora(adapter), "trained on another base", digest="b" * 64)
    merge(tmp_path, lora(adapter), digest="a" * 64)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the base"),
        ({"r": 8}, "rank 8"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"lora_alpha": None}, "not numbers"),
    ],
)
def test_adapters_that_are_no_plain_lora(tmp_path: Path, config: Any, message: str) -> None:
    write_model(tmp_path / "base")
    refused(tmp_path, lora(write_adapter(tmp_path / "a", **config)), message)


def test_damaged_adapters(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    folder = write_adapter(tmp_path / "a")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({k: v for k, v in tensors.items() if "lora_A" in k}, file)
    refused(tmp_path, lora(folder), "one of its two factors")
    save_file({f"{Q}.lora_magic": np.ones(3)}, file)
    refused(tmp_path, lora(folder), "no part of a LoRA")
    (folder / "adapter_config.json").write_text("{nope")
    refused(tmp_path, lora(folder), "not JSON")


def test_a_truncated_shard(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    other = write_model(tmp_path / "x", seed=1)
    with (other / "model.safetensors").open("r+b") as file:
        file.truncate(2000)
    refused(tmp_path, linear(other), "truncated")


def test_weights_stored_quantised(tmp_path: Path) -> None:
    write_model(tmp_path / "base", quantization_config={"bits": 4})
    refused(tmp_path, linear(write_model(tmp_path / "x", seed=1)), "stored quantised")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    with pytest.raises(EnvironmentMissing):
        merge(tmp_path, linear(tmp_path / "nowhere"))
    assert not (tmp_path / "out").exists()


def place(name: str, **base: str) -> InputFolder:
    return InputFolder(name, Path(name), True, {"base": base} if base else {})


def test_which_base_weights_count() -> None:
    auto = TypeAdapter(Merge).validate_python(lora(Path("x")))
    told = auto.model_copy(update={"onto": "dequantised"})
    original = auto.model_copy(update={"onto": "original"})
    nf4 = place("a", quantize="nf4", dtype="bfloat16")
    plain = place("b", quantize="none", dtype="float32")
    foreign = place("c")
    assert choose_onto(auto, [nf4], "auto").dtype == "BF16"
    assert choose_onto(auto, [plain], "auto").dtype == ""
    assert choose_onto(auto, [foreign], "auto").dtype == ""
    assert choose_onto(told, [foreign], "float16").dtype == "F16"
    assert choose_onto(original, [nf4], "auto").dtype == ""
    with pytest.raises(DataError, match="different forms of the base"):
        choose_onto(auto, [nf4, plain], "auto")


SPEC = """
spec = 1
[build]
name = "standalone"
[base]
model = "base"
[merge.soup]
method = "ties"
inputs = [{ model = "x", density = 0.5 }, { model = "y" }]
"""


@pytest.fixture
def standalone(tmp_path: Path) -> Path:
    write_model(tmp_path / "base")
    write_model(tmp_path / "x", seed=1)
    write_model(tmp_path / "y", seed=2)
    (tmp_path / "plan.toml").write_text(SPEC)
    return tmp_path


def tuneforge(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tuneforge", "merge", "plan.toml", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command(standalone: Path) -> None:
    ran = tuneforge(standalone, "-o", "out", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)[0]
    assert report["method"] == "ties"
    assert report["changed"] > 0
    assert json.loads((standalone / "out/config.json").read_text())["model_type"] == "llama"
    again = tuneforge(standalone, "-o", "out")
    assert again.returncode == 2
    assert "exists" in again.stderr
    dry = json.loads(tuneforge(standalone, "--dry-run", "--json").stdout)[0]
    assert {t["action"] for t in dry["tensors"]} == {"ties"}
    assert dry["bytes_out"] == report["bytes"]
    text = tuneforge(standalone, "--analyse").stdout
    assert "cos 0,1" in text
    assert "trimmed 50%" in text
    assert tuneforge(standalone).returncode == 2
    assert sorted(p.name for p in standalone.iterdir()) == ["base", "out", "plan.toml", "x", "y"]


def test_torch_is_never_imported(standalone: Path) -> None:
    code = (
        "import sys; from tuneforge.cli import main; "
        "code = main(['merge', 'plan.toml', '-o', 'out']); "
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=standalone, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_killed_merge_leaves_no_folder_and_the_next_one_works(standalone: Path) -> None:
    slow = (
        "import time; from tuneforge.weights.writer import ShardWriter; "
        "write = ShardWriter.write; "
        "ShardWriter.write = lambda *a: (write(*a), time.sleep(60)); "
        "from tuneforge.cli import main; main(['merge', 'plan.toml', '-o', 'out'])"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], cwd=standalone)
    deadline = time.monotonic() + 60
    while not list(standalone.glob(".out.*.partial/model.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (standalone / "out").exists()
    assert list(standalone.glob(".out.*.partial"))
    assert tuneforge(standalone, "-o", "out").returncode == 0
    assert not list(standalone.glob(".out.*.partial"))


def test_float64_is_merged_with_a_warning(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "x")):
        folder = write_model(tmp_path / name, seed=seed)
        wide = {n: v.astype(np.float64) for n, v in load_file(folder / "model.safetensors").items()}
        save_file(wide, folder / "model.safetensors", metadata={"format": "pt"})
    out = merge(tmp_path, linear(tmp_path / "x"))
    plan = plan_from(
        tmp_path / "base", {}, "auto",
        TypeAdapter(Merge).validate_python(linear(tmp_path / "x")),
        [InputFolder("x", tmp_path / "x", False, {})], 0,
    )  # fmt: skip
    (text,) = plan.warnings
    assert "float64, merged in float32" in text
    assert f"  warning {text}" in plan_lines(plan, 1)
    assert plan_values(plan, 1)["warnings"] == [text]
    merged = load_file(out / "model.safetensors")
    expected = load_file(tmp_path / "x" / "model.safetensors")
    for tensor, values in expected.items():
        assert merged[tensor].dtype == np.float64
        assert np.allclose(merged[tensor], values, rtol=1e-7)


def test_eight_bit_floats_are_refused(tmp_path: Path) -> None:
    import ml_dtypes

    write_model(tmp_path / "base")
    folder = write_model(tmp_path / "x", seed=1)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    entries = [Entry(name, "F8_E4M3", values.shape) for name, values in tensors.items()]
    with ShardWriter(folder, entries, 1 << 30) as writer:
        for name, values in tensors.items():
            writer.write(name, 0, values.reshape(-1).astype(ml_dtypes.float8_e4m3fn))
    refused(tmp_path, linear(folder), "F8_E4M3, quantised without its scale")
