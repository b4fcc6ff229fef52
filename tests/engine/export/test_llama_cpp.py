"""llama.cpp itself reads our files, and makes K-quants of them; skipped where it is not installed.

`pip install 'tuneforge[llamacpp]'` compiles llama.cpp, about twenty minutes on two cores.
"""

import importlib.util
import json
from pathlib import Path

import pytest
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.export.gguf.kquants import K_QUANTS, check_available, quantize_file

INSTALLED = importlib.util.find_spec("llama_cpp") is not None
needs_llama_cpp = pytest.mark.skipif(
    not INSTALLED, reason="llama-cpp-python is NOT installed: llama.cpp did not read our files"
)


@pytest.mark.skipif(INSTALLED, reason="llama-cpp-python is installed")
def test_k_quants_without_llama_cpp_are_refused():
    with pytest.raises(EnvironmentMissing, match=r"q4_k_m needs llama\.cpp") as caught:
        check_available(("q8_0", "q4_k_m"))
    assert caught.value.exit_code == 6
    check_available(("q8_0",))


@pytest.fixture
def architectures():
    """The random models of the architecture tests."""
    path = Path(__file__).parent / "test_gguf_architectures.py"
    spec = importlib.util.spec_from_file_location("architectures_for_llama_cpp", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = (
    "llama", "llama-tied", "llama-3.1", "llama-wide-heads", "llama-linear", "mistral", "qwen2",
    "qwen2-tied-yarn", "qwen3", "phi3", "phi3-longrope", "gemma2", "gemma3",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.train
@needs_llama_cpp
@pytest.mark.parametrize("name", NAMES)
def test_llama_cpp_computes_the_source(
    tmp_path, write_gguf_file, byte_level, sentencepiece, architectures, record_property, name
):
    pieces = name.startswith(("phi3", "gemma", "mistral"))
    tokenizer = sentencepiece if pieces else byte_level
    folder = architectures.make(tmp_path / "model", name, tokenizer)
    files = {kind: write_gguf_file(folder, kind) for kind in ("f32", "q8_0")}
    report = architectures.verified(folder, files)
    assert not report.failed, [f"{c.file} {c.name} {c.reader}: {c.detail}" for c in report.failed]
    checked = {(check.name, check.reader) for check in report.checks}
    assert {("logits", "llama.cpp"), ("token ids", "llama.cpp")} <= checked
    record_property("measured", json.dumps(report.measured))


@pytest.mark.slow
@pytest.mark.train
@needs_llama_cpp
@pytest.mark.parametrize("kind", K_QUANTS)
def test_k_quants(
    tmp_path, write_gguf_file, byte_level, architectures, monkeypatch, record_property, kind
):
    wide = {"hidden_size": 256, "intermediate_size": 512}
    monkeypatch.setitem(architectures.MODELS, "llama", ("LlamaForCausalLM", wide))
    folder = architectures.make(tmp_path / "model", "llama", byte_level)
    target = tmp_path / f"tiny-{kind}.gguf"
    quantize_file(write_gguf_file(folder), target, kind)
    report = architectures.verified(folder, {kind: target})
    assert not report.failed, [f"{c.file} {c.name} {c.reader}: {c.detail}" for c in report.failed]
    record_property("measured", json.dumps(report.measured))
