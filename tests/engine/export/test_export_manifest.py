"""`tuneforge verify` on an export of every kind: a flipped byte, a missing and an added file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tuneforge.cli import main

FORMS = ["safetensors", "gguf", "ollama", "adapter"]


@pytest.fixture
def exported(tiny, tmp_path, monkeypatch):
    """Makes an export of a kind."""

    def make(form: str) -> Path:
        monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))
        model = tiny.write()
        if form == "adapter":
            stem = "base_model.model.model.layers.0.self_attn.q_proj"
            shapes = {f"{stem}.lora_A.weight": (8, 64), f"{stem}.lora_B.weight": (64, 8)}
            tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
            save_file(tensors, model / "adapter_model.safetensors")
            config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16}
            named = {"base_model_name_or_path": "acme/base", "target_modules": ["q_proj"]}
            (model / "adapter_config.json").write_text(json.dumps(config | named))
        out = tmp_path / "out"
        assert main(["export", str(model), "-o", str(out), "--format", form]) == 0
        return out

    return make


def verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[tuple[str, str]]]:
    capsys.readouterr()
    code = main(["verify", str(folder), "--json"])
    damages = json.loads(capsys.readouterr().out)["damages"]
    return code, [(damage["file"], damage["message"]) for damage in damages]


@pytest.mark.parametrize("form", FORMS)
def test_every_change_of_every_file_is_found(exported, tmp_path, capsys, form):
    folder = exported(form)
    assert verify(folder, capsys) == (0, [])
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    assert {"README.md", "verification.json"} < set(names)
    for number, name in enumerate(names):
        changed = tmp_path / f"changed-{number}"
        shutil.copytree(folder, changed)
        data = bytearray((changed / name).read_bytes())
        data[len(data) // 2] ^= 1
        (changed / name).write_bytes(data)
        assert verify(changed, capsys) == (3, [(name, "its bytes differ from what was written")])
        (changed / name).unlink()
        assert verify(changed, capsys) == (3, [(name, "missing")])
    (folder / "added.bin").write_bytes(b"x")
    assert verify(folder, capsys) == (3, [("added.bin", "not in the manifest")])


def test_the_manifest_names_what_was_exported(exported, tiny, capsys):
    from tuneforge.digest import file_digest

    manifest = json.loads((exported("gguf") / "manifest.json").read_text())
    weights = tiny.folder / "model.safetensors"
    assert manifest["external"]["model.safetensors"] == file_digest(weights)
    assert manifest["params"]["types"] == ["q8_0"]


def test_equal_exports_have_equal_manifests(exported, capsys):
    first = exported("gguf")
    before = (first / "manifest.json").read_bytes()
    shutil.rmtree(first)
    assert (exported("gguf") / "manifest.json").read_bytes() == before


def test_a_damaged_export_is_not_pushed(exported, capsys):
    folder = exported("safetensors")
    assert main(["push", str(folder), "acme/x"]) == 0
    (folder / "README.md").write_text("other")
    assert main(["push", str(folder), "acme/x"]) == 3
