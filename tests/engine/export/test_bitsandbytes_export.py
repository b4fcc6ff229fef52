"""A folder quantised with bitsandbytes, read again by transformers; slow imports, tiny model."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.export import BitsAndBytesExport

from tuneforge.export import plan_check
from tuneforge.export.standalone import export_folder
from tuneforge.export.verify.bitsandbytes import check_quantised
from tuneforge.export.verify.report import Report
from tuneforge.weights import open_weights

UP = "model.layers.0.mlp.up_proj"
BROKEN = {
    "nf4": [
        (f"{UP}.weight", (3, 0), "up_proj.weight has other codes"),
        (f"{UP}.weight.absmax", (3,), "up_proj.weight has other scales"),
        (f"{UP}.weight.nested_absmax", (0,), "up_proj.weight has other scales"),
        (f"{UP}.weight.quant_map", (2,), "up_proj.weight has another table"),
        ("model.embed_tokens.weight", (3, 3), "embed_tokens.weight differs"),
    ],
    "int8": [
        (f"{UP}.weight", (3, 4), "up_proj.weight is off by"),
        (f"{UP}.SCB", (3,), "up_proj.weight"),
        ("lm_head.weight", (3, 3), "lm_head.weight differs"),
    ],
}


def test_missing_packages_are_named(tiny, tmp_path, reporter, monkeypatch):
    monkeypatch.setattr(plan_check, "QUANTIZING", ("no_such_package",))
    settings = BitsAndBytesExport(format="bitsandbytes", model="m")
    with pytest.raises(EnvironmentMissing, match="no_such_package"):
        export_folder(tiny.write(), tmp_path / "out", settings, "tiny", reporter, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.train
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_folder_computes_the_source(tiny, tmp_path, reporter, kind):
    out = tmp_path / "out"
    settings = BitsAndBytesExport(format="bitsandbytes", model="m", quantize=kind)
    source = tiny.write(dtype="bfloat16")
    report = export_folder(source, out, settings, "tiny", reporter, 1)
    assert {"weights", "tokenizer", "logits", "config", "end of turn"} <= {
        check.name for check in report.checks
    }
    assert report.measured[kind]["relative_error"] > 1e-4
    config = json.loads((out / "config.json").read_text())
    assert config["quantization_config"]["load_in_8bit"] is (kind == "int8")
    assert (out / "tokenizer.json").is_file()
    for name, index, said in BROKEN[kind]:
        assert said in broken(source, out, name, index), name
    assert "up_proj.weight is missing" in broken(source, out, f"{UP}.weight", None)


def broken(source, folder, name, index) -> str:
    """What the check says once one element (or, without an index, one tensor) is another."""
    changed = folder.parent / "changed"
    shutil.copytree(folder, changed)
    tensors = load_file(folder / "model.safetensors")
    if index is None:
        del tensors[name]
    else:
        tensors[name][index] += np.asarray(1, tensors[name].dtype)
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    report = Report()
    with open_weights(source) as given, open_weights(changed) as shipped:
        check_quantised(given, shipped, tied=False, report=report)
    shutil.rmtree(changed)
    (check,) = report.failed
    return check.detail
