"""What the doctor sees, on made-up machines."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tuneforge import doctor
from tuneforge.device import Device
from tuneforge.doctor import Check, checks

GIB = 2**30
CPU = Device("cpu", "Some CPU", 16 * GIB, threads=8, free_bytes=8 * GIB)
GPU = Device("cuda", "Card", 24 * GIB, driver="570.1", free_bytes=20 * GIB, compute=(8, 9))
PACKAGES = {
    "tuneforge": "0.1.0",
    "duckdb": "1.4.0",
    "torch": "2.13.0+cpu",
    "trl": "1.14.0",
    "peft": "0.21.2",
    "transformers": "5.17.0",
    "bitsandbytes": "0.50.2",
}
REQUIRES = [
    "duckdb>=1.4",
    *(f"{name}>=0; extra == 'train'" for name in ("torch", "peft", "transformers", "bitsandbytes")),
    "trl>=1.10,!=1.15.0,<=1.15; extra == 'train'",
    "tuneforge[train]; extra == 'unsloth'",
    "unsloth>=2026.10; extra == 'unsloth'",
    "nothing-here; python_version < '3'",
]


class Machine:
    """Packages and a device that the doctor is shown instead of this machine's."""

    def __init__(self) -> None:
        self.device = CPU
        self.packages = dict(PACKAGES)

    def version(self, name: str) -> str:
        if name not in self.packages:
            raise metadata.PackageNotFoundError(name)
        return self.packages[name]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(doctor, "detect", lambda: made.device)
    monkeypatch.setattr(metadata, "version", made.version)
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRES)
    return made


def named(found: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def test_all_well_on_a_cpu(machine: Machine, tmp_path: Path) -> None:
    found = checks(tmp_path)
    assert [check.name for check in found if check.status == "fail"] == []
    seen = named(found)
    assert "8 threads" in seen["device"].detail
    assert "trl 1.14.0" in seen["training"].detail
    assert seen["memory"].detail == "8.0 GiB of 16.0 GiB free on the cpu"
    assert "triton" not in seen


def test_whatever_is_not_ok_has_a_fix(machine: Machine, tmp_path: Path) -> None:
    machine.device = GPU
    machine.packages = {"tuneforge": "0.1.0"}
    for check in checks(tmp_path / "new"):
        assert bool(check.fix) == (check.status != "ok"), check


def test_a_missing_package_of_the_base(machine: Machine, tmp_path: Path) -> None:
    del machine.packages["duckdb"]
    found = named(checks(tmp_path))["packages"]
    assert (found.status, found.detail) == ("fail", "duckdb is not installed")


def test_no_training_here_is_only_said(machine: Machine, tmp_path: Path) -> None:
    machine.packages = {"tuneforge": "0.1.0", "duckdb": "1.4.0"}
    seen = named(checks(tmp_path))
    assert seen["training"].status == "warn"
    assert "pip install 'tuneforge[train]'" in seen["training"].fix
    assert "torch" not in seen


def test_a_version_that_breaks(machine: Machine, tmp_path: Path) -> None:
    machine.packages["trl"] = "1.15.0"
    found = named(checks(tmp_path))["training"]
    assert found.status == "fail"
    assert found.detail.startswith("trl 1.15.0 is not ")


def test_torch_for_the_cpu_on_a_gpu_machine(machine: Machine, tmp_path: Path) -> None:
    machine.device = GPU
    found = named(checks(tmp_path))["torch"]
    assert found.status == "fail"
    assert "a GPU is here" in found.detail


def test_unsloth_and_triton_matter_on_a_gpu(machine: Machine, tmp_path: Path) -> None:
    machine.device = GPU
    seen = named(checks(tmp_path))
    assert (seen["unsloth"].status, seen["triton"].status) == ("warn", "warn")
    assert "TRL is used" in seen["unsloth"].detail
    machine.packages |= {"unsloth": "2026.10.1", "triton": "3.5"}
    seen = named(checks(tmp_path))
    assert (seen["unsloth"].status, seen["triton"].status) == ("ok", "ok")


@pytest.mark.parametrize(
    ("device", "status", "words"),
    [
        (GPU, "ok", "Card, 24.0 GiB, driver 570.1"),
        (Device("cuda", "Old", 16 * GIB, driver="1", compute=(7, 5)), "warn", "no bfloat16"),
        (Device("cpu", "X", GIB, note="the NVIDIA driver does not answer"), "warn", "not answer"),
    ],
)
def test_devices(machine: Machine, tmp_path: Path, device: Device, status: str, words: str) -> None:
    machine.device = device
    found = named(checks(tmp_path))["device"]
    assert found.status == status
    assert words in found.detail


@pytest.mark.parametrize(("free", "status"), [(2**29, "fail"), (5 * GIB, "warn"), (90 * GIB, "ok")])
def test_disk(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, free))
    assert named(checks(tmp_path))["disk"].status == status


def test_a_workspace_not_made_yet(machine: Machine, tmp_path: Path) -> None:
    found = named(checks(tmp_path / "a" / "b"))["workspace"]
    assert found.status == "ok"
    assert "made by the first build" in found.detail
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_cannot_be_written(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    found = named(checks(tmp_path))["workspace"]
    assert found.status == "fail"
    assert "Read-only file system" in found.detail


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from tuneforge.cli import main; sys.exit(main())"]
    return subprocess.run(
        [*command, "doctor", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_command_on_this_machine(tmp_path: Path) -> None:
    done = run("--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert {check["name"] for check in found} >= {"python", "packages", "device", "disk"}
    failed = [check for check in found if check["status"] == "fail"]
    assert done.returncode == (6 if failed else 0)
    assert list(tmp_path.iterdir()) == []


def test_the_command_for_people(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.stdout.startswith("ok    python ")
    assert "Traceback" not in done.stderr


def test_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tuneforge.doctor import checks; checks(pathlib.Path('.'));"
        "print({'torch', 'transformers', 'bitsandbytes', 'duckdb'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
