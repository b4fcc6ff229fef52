"""Which backend trains: Unsloth on CUDA where it is installed, else TRL with PEFT. No torch."""

import importlib.util
from dataclasses import dataclass
from typing import Literal

from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.device import Device

Backend = Literal["unsloth", "trl"]


@dataclass(frozen=True)
class Choice:
    """The backend of a train step, and why it was chosen."""

    backend: Backend
    why: str


def installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def choose(
    requested: Literal["auto", "unsloth", "trl"], device: Device, *, unsloth: bool | None = None
) -> Choice:
    """Choose a backend; raise EnvironmentMissing where the requested one cannot work.

    ``unsloth`` says whether that package is installed; None looks.
    """
    if requested == "trl":
        return Choice("trl", "the spec asks for it")
    missing = _why_not_unsloth(device, installed("unsloth") if unsloth is None else unsloth)
    if requested == "unsloth":
        if missing:
            raise EnvironmentMissing(
                f'backend = "unsloth" cannot work here: {missing}',
                "pip install 'tuneforge[unsloth]'"
                if device.kind == "cuda"
                else 'set backend = "auto" or "trl", or build on a machine with an NVIDIA GPU',
            )
        return Choice("unsloth", "the spec asks for it")
    return Choice("trl", missing) if missing else Choice("unsloth", f"installed, on {device.name}")


def _why_not_unsloth(device: Device, is_installed: bool) -> str:
    if device.kind != "cuda":
        return f"no CUDA device ({device.note or device.name})"
    if device.compute and device.compute < (7, 0):
        return f"{device.name} has compute capability {device.compute[0]}.{device.compute[1]} < 7.0"
    return "" if is_installed else "the package unsloth is not installed"
