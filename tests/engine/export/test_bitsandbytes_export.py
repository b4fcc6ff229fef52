"""A folder quantised with bitsandbytes, read again by transformers; slow imports, tiny model."""

import json

import pytest
from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.export import BitsAndBytesExport

from tuneforge.export import plan_check
from tuneforge.export.standalone import export_folder


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
    report = export_folder(tiny.write(), out, settings, "tiny", reporter, 1)
    assert {"logits", "config", "end of turn"} <= {check.name for check in report.checks}
    assert report.measured[kind]["relative_error"] > 1e-4
    config = json.loads((out / "config.json").read_text())
    assert config["quantization_config"]["load_in_8bit"] is (kind == "int8")
    assert (out / "tokenizer.json").is_file()
