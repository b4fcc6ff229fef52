"""Exports that are broken on purpose, one thing at a time: the verification itself must notice.

What a format has written is changed on the disk before it is verified; nothing of the verification
is replaced. The command ends with 4, says what is wrong, and leaves no export.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tuneforge.cli import main

Break = Callable[[Path], None]


def wrong_tensor(name: str, index: tuple[int, ...] = (3,)) -> Break:
    """Change one element of one tensor."""

    def change(out: Path) -> None:
        (file,) = out.glob("*.safetensors")
        tensors = load_file(file)
        tensors[name][index] += np.asarray(1, tensors[name].dtype)
        save_file(tensors, file, metadata={"format": "pt"})

    return change


def wrong_gguf_tensor(out: Path) -> None:
    from gguf import GGUFReader

    (file,) = out.glob("*.gguf")
    tensor = next(t for t in GGUFReader(file, "r+").tensors if t.name.startswith("blk.1.attn_q"))
    tensor.data[5, 4] ^= np.asarray(64, tensor.data.dtype)


def wrong_text(name: str, before: str, after: str) -> Break:
    """Replace a text in a file, once; the file keeps its length where both have the same."""

    def change(out: Path) -> None:
        (file,) = out.glob(name)
        data = file.read_bytes()
        assert before.encode() in data, f"{before} is not in {file.name}"
        file.write_bytes(data.replace(before.encode(), after.encode(), 1))

    return change


def swapped_tokens(out: Path) -> None:
    values = json.loads((out / "tokenizer.json").read_text("utf-8"))
    vocabulary = values["model"]["vocab"]
    first, second = list(vocabulary)[20:22]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (out / "tokenizer.json").write_text(json.dumps(values, ensure_ascii=False), "utf-8")


def no_terminator(out: Path) -> None:
    (out / "generation_config.json").write_text('{"eos_token_id": 0}', "utf-8")


def other_eos(out: Path) -> None:
    """Let the metadata name another token as the end: the id is a uint32 after the key."""
    (file,) = out.glob("*.gguf")
    data = bytearray(file.read_bytes())
    at = data.index(b"tokenizer.ggml.eos_token_id") + len(b"tokenizer.ggml.eos_token_id") + 4
    assert data[at : at + 4] == (2).to_bytes(4, "little")
    data[at] = 9
    file.write_bytes(data)


OTHER_TEMPLATE = wrong_text(
    "chat_template.jinja", "<|im_start|>{{ m.role", "<|im_start|>X{{ m.role"
)
FOLDER = [
    (swapped_tokens, "tokenizer"),
    (no_terminator, "end of turn"),
    (OTHER_TEMPLATE, "tokenizer"),
]
GGUF = [
    (wrong_gguf_tensor, "weights"),
    (wrong_text("*.gguf", "<|endoftext|>", "<|endofjext|>"), "tokens"),
    (other_eos, "end of turn"),
    (wrong_text("*.gguf", "{% for m in messages", "{% for n in messages"), "chat template"),
]
CASES = [
    ("safetensors", "safetensors.ship", wrong_tensor("model.norm.weight"), "weights"),
    *(("safetensors", "safetensors.ship", change, named) for change, named in FOLDER),
    *(("gguf", "gguf_files.write_gguf", change, named) for change, named in GGUF),
    *(("ollama", "gguf_files.write_gguf", change, named) for change, named in GGUF),
    ("adapter", "adapter.write_generation_config",
     wrong_tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", (3, 2)),
     "weights"),
    *(("adapter", "adapter.write_generation_config", change, named) for change, named in FOLDER),
]  # fmt: skip


@pytest.fixture
def model(tiny, monkeypatch) -> Path:
    monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))
    return tiny.write()


@pytest.fixture
def adapter(model) -> Path:
    random = np.random.default_rng(0)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{stem}.lora_A.weight": (8, 64), f"{stem}.lora_B.weight": (64, 8)}
    tensors = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    (model / "model.safetensors").unlink()
    save_file(tensors, model / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"],
              "base_model_name_or_path": "acme/base"}  # fmt: skip
    (model / "adapter_config.json").write_text(json.dumps(config))
    return model


def sabotage(monkeypatch: pytest.MonkeyPatch, place: str, change: Break, out: Path) -> None:
    """Let ``change`` loose on what has been written as soon as ``place`` has written it."""
    import importlib

    module, _, name = f"tuneforge.export.{place}".rpartition(".")
    write = getattr(importlib.import_module(module), name)

    def written(*arguments, **named):
        found = write(*arguments, **named)
        (folder,) = out.parent.glob(f".{out.name}.*/out")
        change(folder)
        return found

    monkeypatch.setattr(f"{module}.{name}", written)


def refused(capsys: pytest.CaptureFixture[str], model: Path, out: Path, *options: str) -> str:
    """Export; assert exit 4 and that nothing is left, not even hidden. Give what was said."""
    assert main(["export", str(model), "-o", str(out), *options]) == 4
    assert not [path for path in out.parent.iterdir() if "out" in path.name]
    return capsys.readouterr().err


@pytest.mark.parametrize(("form", "place", "change", "named"), CASES)
def test_it_is_noticed(request, tmp_path, monkeypatch, capsys, form, place, change, named):
    model = request.getfixturevalue("adapter" if form == "adapter" else "model")
    out = tmp_path / "shipped" / "out"
    assert main(["export", str(model), "-o", str(out), "--format", form]) == 0, "sound as it is"
    sound = out.parent / "sound"
    out.rename(sound)
    capsys.readouterr()
    sabotage(monkeypatch, place, change, out)
    said = refused(capsys, model, out, "--format", form)
    assert f": {named} (" in said


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.replace('PARAMETER stop "<|im_end|>"\n', ""), "end of turn"),
        (lambda t: t.replace('stop "<|im_end|>"', 'stop "<|im_start|>"'), "end of turn"),
        (lambda t: t.replace("<|im_start|>assistant", "<|im_start|>user"), "template"),
        (lambda t: t.replace("{{ .Content }}", "{{ .Role }}", 1), "template"),
        (lambda t: t.replace(".Messages }}", ".Prompt }}"), "template"),
        (lambda t: t.replace("FROM ./", "FROM ./other-"), "weights file"),
        (lambda t: t + 'SYSTEM "Answer in verse."\n', "system"),
        (lambda t: t.replace('"""\n', "\n"), "syntax"),
        (lambda t: t.replace("PARAMETER", "PARAM"), "syntax"),
    ],
)
def test_a_modelfile_that_says_something_else(model, tmp_path, monkeypatch, capsys, change, named):
    from tuneforge.export.ollama import export

    write = export.modelfile
    monkeypatch.setattr(export, "modelfile", lambda *given: change(write(*given)))
    said = refused(capsys, model, tmp_path / "shipped" / "out", "--format", "ollama")
    assert f"Modelfile: {named} (" in said


@pytest.mark.train
def test_a_quantised_folder(model, tmp_path, monkeypatch, capsys):
    out = tmp_path / "shipped" / "out"

    def change(folder: Path) -> None:
        wrong_tensor("model.layers.0.mlp.up_proj.weight", (3, 0))(folder)
        for broken, _ in FOLDER:
            broken(folder)

    sabotage(monkeypatch, "bitsandbytes.write_generation_config", change, out)
    said = refused(capsys, model, out, "--format", "bitsandbytes", "--type", "nf4")
    for named in ("weights", "tokenizer", "end of turn"):
        assert f": {named} (" in said
    assert "chat_template.jinja" in said
    assert "up_proj.weight has other codes" in said
