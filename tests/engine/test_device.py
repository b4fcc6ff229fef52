"""The device, as a stand-in for NVML and made-up control groups tell it."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pynvml
import pytest

from tuneforge import control_group
from tuneforge.device import detect

GIB = 2**30


@dataclass
class Memory:
    total: int
    free: int


@dataclass
class Driver:
    """What NVML would say about a machine's GPUs."""

    memory: list[Memory] = field(default_factory=lambda: [Memory(24 * GIB, 20 * GIB)])
    open_sessions: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start() -> None:
            self.open_sessions += 1

        def stop() -> None:
            self.open_sessions -= 1

        answers: dict[str, Any] = {
            "nvmlInit": start,
            "nvmlShutdown": stop,
            "nvmlDeviceGetCount": lambda: len(self.memory),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetMemoryInfo": lambda handle: self.memory[handle],
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
            "nvmlDeviceGetName": lambda handle: f"Card {handle}",
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}abc",
            "nvmlSystemGetDriverVersion": lambda: b"570.1",
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made = Driver()
    made.install(monkeypatch)
    return made


def test_a_gpu(driver: Driver) -> None:
    found = detect()
    assert (found.kind, found.name, found.count) == ("cuda", "Card 0", 1)
    assert (found.memory_bytes, found.free_bytes) == (24 * GIB, 20 * GIB)
    assert (found.driver, found.compute) == ("570.1", (8, 9))
    assert driver.open_sessions == 0


def test_the_smallest_stands_for_all(driver: Driver) -> None:
    driver.memory = [Memory(80 * GIB, GIB), Memory(24 * GIB, 20 * GIB)]
    found = detect()
    assert (found.name, found.count, found.memory_bytes) == ("Card 1", 2, 24 * GIB)
    assert found.free_bytes == GIB


@pytest.mark.parametrize(
    ("visible", "name", "count"),
    [("1", "Card 1", 1), ("1,0", "Card 1", 2), ("GPU-1", "Card 1", 1), ("1,9,0", "Card 1", 1)],
)
def test_only_visible_ones_count(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, visible: str, name: str, count: int
) -> None:
    driver.memory = [Memory(24 * GIB, GIB), Memory(24 * GIB, GIB)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect()
    assert found.kind == "cuda"
    assert found.count == count
    if count == 1:
        assert found.name == name


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_ones_leave_the_cpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = detect()
    assert found.kind == "cpu"
    assert "CUDA_VISIBLE_DEVICES" in found.note


@pytest.mark.parametrize("visible", ["7", "GPU-none", "x"])
def test_a_wrong_choice_says_so(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect()
    assert (found.kind, found.note) == ("cpu", "the NVIDIA driver shows no GPU")
    assert driver.open_sessions == 0


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    found = detect()
    assert (found.kind, found.note, found.driver) == ("cpu", "", "")
    assert found.name
    assert 0 < found.free_bytes <= found.memory_bytes <= psutil.virtual_memory().total
    assert found.threads >= 1


def test_with_a_broken_driver(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", broken)
    found = detect()
    assert found.kind == "cpu"
    assert "does not answer" in found.note
    assert driver.open_sessions == 0


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys; from tuneforge.device import detect; detect(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class TestControlGroups:
    @pytest.fixture
    def groups(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root = tmp_path / "cgroup"
        root.mkdir()
        monkeypatch.setattr(control_group, "ROOT", root)
        monkeypatch.setattr(control_group, "OWN", tmp_path / "own")
        return root

    def own(self, groups: Path, text: str) -> None:
        (groups.parent / "own").write_text(text)

    def test_without_any(self, groups: Path) -> None:
        assert control_group.memory_limit() == psutil.virtual_memory().total

    def test_version_2(self, groups: Path) -> None:
        self.own(groups, "0::/pod/task\n")
        (groups / "pod" / "task").mkdir(parents=True)
        (groups / "pod" / "task" / "memory.max").write_text("max\n")
        (groups / "pod" / "memory.max").write_text(f"{GIB}\n")
        (groups / "pod" / "cpu.max").write_text("150000 100000\n")
        assert control_group.memory_limit() == GIB
        assert control_group.usable_threads() <= 2

    def test_version_2_inside_a_container(self, groups: Path) -> None:
        self.own(groups, "0::/\n")
        (groups / "memory.max").write_text(f"{GIB}\n")
        (groups / "cpu.max").write_text("50000 100000\n")
        assert control_group.memory_limit() == GIB
        assert control_group.usable_threads() == 1

    def test_version_1(self, groups: Path) -> None:
        self.own(groups, "5:cpu:/\n4:memory:/docker/abc\n")
        (groups / "memory").mkdir()
        (groups / "cpu").mkdir()
        (groups / "memory" / "memory.limit_in_bytes").write_text(f"{GIB}\n")
        (groups / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
        (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
        assert control_group.memory_limit() == GIB
        assert control_group.usable_threads() == 1

    def test_version_1_without_a_limit(self, groups: Path) -> None:
        self.own(groups, "4:memory:/\n")
        (groups / "memory").mkdir()
        (groups / "cpu").mkdir()
        (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
        (groups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
        (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
        assert control_group.memory_limit() == psutil.virtual_memory().total
        assert control_group.usable_threads() >= 1
