"""`tuneforge export`: any model folder, without a spec."""

import json
import shutil

import pytest

from tuneforge.cli import main


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))


def test_gguf_of_a_folder(tiny, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert (
        main(["export", str(tiny.write()), "-o", str(out), "--type", "f16", "--type", "q8_0"]) == 0
    )
    assert {path.name for path in out.iterdir()} == {
        "tiny-f16.gguf",
        "tiny-q8_0.gguf",
        "verification.json",
        "README.md",
        "manifest.json",
    }
    said = capsys.readouterr()
    assert "checks passed" in said.out
    assert "warning: not verified: logits" in said.err
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_json_is_the_report(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    folder = str(tiny.write())
    assert main(["export", folder, "-o", str(out), "--format", "safetensors", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["folder"] == str(out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--type", "q9_9"], "q9_9"),
        (["--format", "zip"], "zip"),
        (["--format", "safetensors", "--type", "f16"], "does not fit"),
    ],
)
def test_wrong_options_exit_2(tiny, tmp_path, capsys, options, said):
    out = tmp_path / "out"
    assert main(["export", str(tiny.write()), "-o", str(out), *options]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_is_there_is_left_alone(tiny, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    assert main(["export", str(tiny.write()), "-o", str(tmp_path / "out")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_no_such_model_exits_2(tmp_path):
    assert main(["export", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2


def test_a_folder_without_weights_exits_6(tiny, tmp_path, capsys):
    folder = tiny.write()
    (folder / "model.safetensors").unlink()
    assert main(["export", str(folder), "-o", str(tmp_path / "out")]) == 6
    assert "safetensors" in capsys.readouterr().err


def test_a_failed_check_leaves_nothing(tiny, tmp_path, capsys, monkeypatch):
    from tuneforge.export.gguf.architectures import llama

    monkeypatch.setattr(llama, "interleave_halves", lambda rows, _width: rows)
    assert main(["export", str(tiny.write()), "-o", str(tmp_path / "out")]) == 4
    assert "attn_q" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_unknown_architecture_exits_2_before_any_work(tiny, tmp_path, capsys):
    folder = tiny.write(architectures=["MambaForCausalLM"])
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert main(["export", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert "MambaForCausalLM" in capsys.readouterr().err
