"""Numbers as people read them, without any library."""

from collections.abc import Mapping
from typing import Any


def seconds(value: float) -> str:
    """Write a duration: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Write a number of bytes: 812 B, 3.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(value: float) -> str:
    """Write a count with separators, anything else with four digits."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.4g}"


def live(values: Mapping[str, Any]) -> str:
    """Write live metrics in one short line, the ones people watch first."""
    parts = []
    if "loss" in values:
        parts.append(f"loss {values['loss']:.4f}")
    if "eval_loss" in values:
        parts.append(f"eval loss {values['eval_loss']:.4f}")
    if "tokens_per_second" in values:
        parts.append(f"{values['tokens_per_second']:,.0f} tokens/s")
    if "memory_bytes" in values:
        parts.append(size(values["memory_bytes"]))
    known = {"loss", "eval_loss", "tokens_per_second", "memory_bytes", "learning_rate", "grad_norm"}
    parts += [
        f"{key} {number(value) if isinstance(value, int | float) else value}"
        for key, value in values.items()
        if key not in known and not key.startswith("eval_") and key not in {"step", "epoch"}
    ]
    return ", ".join(parts[:4])
