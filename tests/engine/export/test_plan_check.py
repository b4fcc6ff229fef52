"""A plan refuses, by name, what an export could not do; before anything runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tuneforge_specs.errors import UsageError
from tuneforge_specs.loader import load

from tuneforge.export.plan_check import check_exports

SPEC = """
spec = 1
[build]
name = "x"
[base]
model = "base"
[sources.s]
path = "s.jsonl"
[datasets.d]
from = [{ source = "s" }]
[train.t]
method = "sft"
dataset = "d"
adapter = { kind = "full" }
[export.out]
model = "t"
format = "FORMAT"
"""


def loaded(tmp_path: Path, form: str, config: dict):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    (tmp_path / "spec.toml").write_text(SPEC.replace("FORMAT", form))
    return load(tmp_path / "spec.toml")


@pytest.mark.parametrize("form", ["gguf", "ollama"])
def test_unsupported_architecture_is_refused(tmp_path, form):
    found = loaded(tmp_path, form, {"architectures": ["MambaForCausalLM"]})
    with pytest.raises(UsageError, match=r"export\.out: .*MambaForCausalLM"):
        check_exports(found.spec, found.directory, ["out"])
    check_exports(found.spec, found.directory, [])


def test_safetensors_takes_any_architecture(tmp_path):
    found = loaded(tmp_path, "safetensors", {"architectures": ["MambaForCausalLM"]})
    check_exports(found.spec, found.directory, ["out"])


def test_a_base_that_is_not_here_yet_is_left_to_the_step(tmp_path):
    found = loaded(tmp_path, "gguf", {})
    (tmp_path / "base" / "config.json").unlink()
    check_exports(found.spec, found.directory, ["out"])


def test_importing_the_step_loads_nothing_heavy():
    code = (
        "import sys, tuneforge.steps.export, tuneforge.export.plan_check;"
        "print([m for m in ('gguf', 'torch', 'numpy', 'tokenizers', 'pyarrow', 'jinja2')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
