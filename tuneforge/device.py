"""What this machine trains on: asked of the driver and the kernel, without torch."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from tuneforge.control_group import memory_limit, usable_threads

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Device:
    """One kind of device: ``count`` of them, ``memory_bytes`` each.

    ``driver`` is the NVIDIA driver's version, empty on a CPU; ``threads`` are the CPU's usable
    ones either way. ``note`` says why a GPU that may be there is not used.
    """

    kind: Literal["cuda", "cpu"]
    name: str
    memory_bytes: int
    count: int = 1
    driver: str = ""
    threads: int = 1
    free_bytes: int = 0
    compute: tuple[int, int] = (0, 0)
    note: str = ""


def detect() -> Device:
    """Give the GPUs that CUDA programs would see, the smallest standing for all, else the CPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return _cpu("CUDA_VISIBLE_DEVICES hides every GPU")
    try:
        return _cuda()
    except _NoGpuError as error:
        return _cpu(str(error))


class _NoGpuError(Exception):
    """No GPU can be used; the text says why, and is empty where none is expected."""


def _cuda() -> Device:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound as error:
        raise _NoGpuError from error
    except pynvml.NVMLError as error:
        raise _NoGpuError(f"the NVIDIA driver does not answer: {error}") from error
    try:
        handles = _visible(pynvml)
        if not handles:
            raise _NoGpuError("the NVIDIA driver shows no GPU")
        memory = [pynvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
        smallest = min(range(len(handles)), key=lambda index: memory[index].total)
        compute = pynvml.nvmlDeviceGetCudaComputeCapability(handles[smallest])
        return Device(
            kind="cuda",
            name=_text(pynvml.nvmlDeviceGetName(handles[smallest])),
            memory_bytes=int(memory[smallest].total),
            count=len(handles),
            driver=_text(pynvml.nvmlSystemGetDriverVersion()),
            threads=usable_threads(),
            free_bytes=min(int(item.free) for item in memory),
            compute=(int(compute[0]), int(compute[1])),
        )
    except pynvml.NVMLError as error:
        raise _NoGpuError(f"the NVIDIA driver does not answer: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _visible(nvml: Any) -> list[Any]:
    """Give the handles that ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    As CUDA reads it: indices or UUIDs; what follows the first invalid entry is not seen.
    """
    handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return handles
    chosen = []
    for entry in map(str.strip, asked.split(",")):
        if entry.isdecimal() and int(entry) < len(handles):
            chosen.append(handles[int(entry)])
            continue
        named = [h for h in handles if entry and _text(nvml.nvmlDeviceGetUUID(h)).startswith(entry)]
        if not named:
            break
        chosen.append(named[0])
    return chosen


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu(note: str = "") -> Device:
    total = memory_limit()
    return Device(
        kind="cpu",
        name=_cpu_name(),
        memory_bytes=total,
        threads=usable_threads(),
        free_bytes=min(total, int(psutil.virtual_memory().available)),
        note=note,
    )


def _cpu_name() -> str:
    try:
        for line in _CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass  # not Linux: the platform names it
    return platform.processor() or platform.machine() or "CPU"
