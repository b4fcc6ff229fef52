"""Which backend trains, and why."""

import subprocess
import sys

import pytest
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.backend import Choice, choose
from tuneforge.device import Device

CPU = Device(kind="cpu", name="some CPU", memory_bytes=1)
GPU = Device(kind="cuda", name="H100", memory_bytes=1, compute=(9, 0))
OLD = Device(kind="cuda", name="P100", memory_bytes=1, compute=(6, 0))


@pytest.mark.parametrize(
    ("requested", "device", "unsloth", "expected"),
    [
        ("auto", CPU, True, Choice("trl", "no CUDA device (some CPU)")),
        ("auto", GPU, False, Choice("trl", "the package unsloth is not installed")),
        ("auto", OLD, True, Choice("trl", "P100 has compute capability 6.0 < 7.0")),
        ("auto", GPU, True, Choice("unsloth", "installed, on H100")),
        ("unsloth", GPU, True, Choice("unsloth", "the spec asks for it")),
        ("trl", GPU, True, Choice("trl", "the spec asks for it")),
        ("trl", CPU, False, Choice("trl", "the spec asks for it")),
    ],
)
def test_the_choice_and_its_reason(requested, device, unsloth, expected):
    assert choose(requested, device, unsloth=unsloth) == expected


@pytest.mark.parametrize(
    ("device", "unsloth", "said", "fix"),
    [
        (CPU, True, "no CUDA device", "NVIDIA GPU"),
        (GPU, False, "not installed", "tuneforge[unsloth]"),
        (OLD, True, "compute capability", "tuneforge[unsloth]"),
    ],
)
def test_unsloth_where_it_cannot_work_is_an_environment_error(device, unsloth, said, fix):
    with pytest.raises(EnvironmentMissing, match=said) as caught:
        choose("unsloth", device, unsloth=unsloth)
    assert caught.value.exit_code == 6
    if device is not OLD:
        assert fix in caught.value.fix


def test_choosing_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from tuneforge.backend import choose\n"
        "from tuneforge.device import detect\n"
        "choose('auto', detect())\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'unsloth', 'transformers')))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
