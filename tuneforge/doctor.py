"""Is this machine ready: what is here, what is missing, and what to do about it.

Packages are looked up, never imported: a broken torch must not stop the doctor.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from tuneforge.device import Device, detect
from tuneforge.fit.sizes import size_text

Verdict = Literal["ok", "warn", "fail"]

_DISTRIBUTION = "tuneforge"
_LEAST_DISK, _LOW_DISK = 2**30, 20 * 2**30
_BFLOAT16_SINCE = (8, 0)


@dataclass(frozen=True)
class Check:
    """One thing looked at; ``fix`` says what to do unless it is ok."""

    name: str
    status: Verdict
    detail: str
    fix: str = ""


def checks(workspace: Path) -> list[Check]:
    """Look at Python, packages, device, memory, disk and ``workspace``, which need not exist."""
    device = detect()
    return [
        _python(),
        _packages(),
        *_training(device),
        _device(device),
        _memory(device),
        _writable(workspace),
        _disk(workspace),
    ]


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Check:
    wrong = list(_unmet(""))
    if wrong:
        return Check("packages", "fail", "; ".join(wrong), "pip install --upgrade tuneforge")
    return Check("packages", "ok", f"tuneforge {_version(_DISTRIBUTION)} and what it needs")


def _training(device: Device) -> list[Check]:
    found = [_train_extra()]
    if _version("torch"):
        found.append(_torch(device))
    if device.kind == "cuda":
        found += [_triton(), _unsloth()]
    return found


def _train_extra() -> Check:
    install = "pip install 'tuneforge[train]'"
    wrong = list(_unmet("train"))
    if not wrong:
        versions = " ".join(
            f"{name} {_version(name)}" for name in ("torch", "transformers", "trl", "peft")
        )
        return Check("training", "ok", f"{versions} bitsandbytes {_version('bitsandbytes')}")
    if all(text.endswith("is not installed") for text in wrong):
        return Check("training", "warn", "; ".join(wrong), f"to train on this machine: {install}")
    return Check("training", "fail", "; ".join(wrong), install)


def _torch(device: Device) -> Check:
    version = _version("torch") or ""
    built_for_cpu = "+cpu" in version
    if device.kind == "cuda" and built_for_cpu:
        fix = "install torch's CUDA build: https://pytorch.org/get-started/locally"
        return Check("torch", "fail", f"{version} is built for the CPU, but a GPU is here", fix)
    return Check("torch", "ok", version)


def _triton() -> Check:
    version = _version("triton") or _version("triton-windows")
    if version:
        return Check("triton", "ok", version)
    return Check("triton", "warn", "is not installed: some kernels fall back", "pip install triton")


def _unsloth() -> Check:
    wrong = [text for text in _unmet("unsloth") if not text.startswith("tuneforge")]
    if not wrong:
        return Check("unsloth", "ok", f'{_version("unsloth")}: used where backend = "auto"')
    fix = "for faster training with less memory: pip install 'tuneforge[unsloth]'"
    return Check("unsloth", "warn", f"{'; '.join(wrong)}: TRL is used", fix)


def _unmet(extra: str) -> Iterator[str]:
    """Say what is missing or of another version among the requirements of one extra."""
    for text in metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        in_base = marker is None or marker.evaluate({"extra": ""})
        if bool(extra) == in_base:
            continue
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        version = _version(requirement.name)
        if version is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(Version(version), prereleases=True):
            yield f"{requirement.name} {version} is not {requirement.specifier}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(device: Device) -> Check:
    if device.kind == "cpu":
        detail = f"{device.name}, {device.threads} threads"
        if device.note:
            fix = "check nvidia-smi and CUDA_VISIBLE_DEVICES if a GPU should be here"
            return Check("device", "warn", f"{detail}; {device.note}", fix)
        return Check("device", "ok", f"{detail}; no NVIDIA GPU")
    count = f"{device.count} x " if device.count > 1 else ""
    detail = f"{count}{device.name}, {size_text(device.memory_bytes)}, driver {device.driver}"
    if device.compute < _BFLOAT16_SINCE:
        fix = 'set base.dtype = "float16"'
        return Check("device", "warn", f"{detail}; it has no bfloat16", fix)
    return Check("device", "ok", detail)


def _memory(device: Device) -> Check:
    free, total = size_text(device.free_bytes), size_text(device.memory_bytes)
    return Check("memory", "ok", f"{free} of {total} free on the {device.kind}")


def _writable(workspace: Path) -> Check:
    """Try to write where the workspace is, or where it would be made."""
    folder = _existing(workspace)
    probe = folder / f".tuneforge-doctor-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        detail = f"{folder} cannot be written to: {error.strerror}"
        return Check("workspace", "fail", detail, "make it writable, or use --workspace DIR")
    made = "" if folder == workspace else " (made by the first build)"
    return Check("workspace", "ok", f"{workspace}{made}")


def _disk(workspace: Path) -> Check:
    folder = _existing(workspace)
    free = shutil.disk_usage(folder).free
    detail = f"{size_text(free)} free at {folder}"
    if free < _LEAST_DISK:
        return Check("disk", "fail", detail, "make room, or use --workspace DIR on another disk")
    if free < _LOW_DISK:
        fix = "a merge or export of a large model needs more; tuneforge gc frees old artifacts"
        return Check("disk", "warn", detail, fix)
    return Check("disk", "ok", detail)


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
