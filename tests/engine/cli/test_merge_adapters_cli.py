"""``tuneforge merge`` for results that are adapters."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tuneforge.cli import main

NAME = "model.layers.0.self_attn.q_proj"
SPEC = """\
spec = 1
[build]
name = "x"
[base]
model = "base"
[merge.m]
method = "lora_svd"
rank = 2
inputs = [{ adapter = "a" }, { adapter = "b", weight = 0.5 }]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    (tmp_path / "base").mkdir()
    save_file({f"{NAME}.weight": normal(24, 16)}, tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    for name in "ab":
        (tmp_path / name).mkdir()
        factors = {"A": normal(3, 16), "B": normal(24, 3)}
        tensors = {f"base_model.model.{NAME}.lora_{p}.weight": f for p, f in factors.items()}
        save_file(tensors, tmp_path / name / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": 3, "lora_alpha": 3}
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
    file = tmp_path / "plan.toml"
    file.write_text(SPEC)
    return file


def run(*arguments: str) -> int:
    return main(["merge", *arguments])


def test_it_is_planned_made_and_taken_on(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = spec.parent / "out"
    assert run(str(spec), "--dry-run") == 0
    assert "lora_svd" in (said := capsys.readouterr().out)
    assert "24x16  rank 2     a, b" in said
    assert run(str(spec), "-o", str(out)) == 0
    assert "lora_svd: rank 2 over 1 modules, relative error 0." in capsys.readouterr().out
    shapes = {v.shape for v in load_file(out / "adapter_model.safetensors").values()}
    assert shapes == {(2, 16), (24, 2)}
    assert 0 < json.loads((out / "merge.json").read_text())["error"] < 1
    next_ = spec.with_name("next.toml")
    text = SPEC.partition("[merge.m]")[0] + '[merge.m]\nmethod = "lora"\n'
    next_.write_text(text + f'inputs = [{{ adapter = "{out}" }}]\n')
    assert run(str(next_), "-o", str(spec.parent / "model"), "--json") == 0
    assert (spec.parent / "model" / "model.safetensors").is_file()


def test_analysis_is_of_merges_into_models(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(spec), "--analyse") == 2
    assert "task_arithmetic" in capsys.readouterr().err


def test_the_summary_tells_what_was_written_and_what_went_wrong(spec: Path) -> None:
    page, out = spec.with_name("s.md"), spec.parent / "out"
    assert run(str(spec), "-o", str(out), "--summary", str(page)) == 0
    text = page.read_text()
    assert "1 step ran" in text
    assert f"`{out}`" in text
    assert run(str(spec), "-o", str(out), "--summary", str(page)) == 2
    text = page.read_text()
    assert "**Failed with exit code 2.**" in text
    assert "exists already" in text


def test_a_dry_run_has_no_summary(spec: Path) -> None:
    page = spec.with_name("s.md")
    assert run(str(spec), "--dry-run", "--summary", str(page)) == 2
    assert not page.exists()
