"""Where a tensor lies in a model, and what a setting is there: mergekit's gradients and filters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tuneforge_specs.settings import Choice, Varied

_LAYER = re.compile(r"(?P<stem>(?:^|.*\.)(?:layers|h|blocks|block)\.)(?P<number>\d+)\.")


@dataclass(frozen=True)
class Place:
    """A tensor's name and depth: 0 in the first layer and outside of layers, 1 in the last."""

    name: str
    depth: float = 0.0

    def value(self, setting: Varied, default: float) -> float:
        """Return what a setting is here; ``default`` where no filter matches.

        The first matching filter counts. A list of numbers is laid out evenly over the depth and
        interpolated linearly.
        """
        if isinstance(setting, Choice):
            setting = (setting,)
        if not isinstance(setting, tuple):
            return setting
        numbers = [item for item in setting if not isinstance(item, Choice)]
        if numbers:
            return interpolated(numbers, self.depth)
        for item in setting:
            if isinstance(item, Choice) and matches(item.filter, self.name):
                return self.value(item.value, default)
        return default


def interpolated(numbers: list[float], depth: float) -> float:
    """Return the value at ``depth`` (0 to 1) of the line through evenly spaced numbers."""
    scaled = depth * (len(numbers) - 1)
    before = int(scaled)
    after = min(len(numbers) - 1, before + 1)
    share = scaled - before
    return (1 - share) * numbers[before] + share * numbers[after]


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern is found anywhere in a tensor's name."""
    return fnmatchcase(name, f"*{pattern}*")


def depth_in(layer: int, layers: int) -> float:
    """Return the depth of a layer; mergekit puts a model's only layer at the far end."""
    return layer / (layers - 1) if layers > 1 else 1.0


def places(names: Iterable[str]) -> dict[str, Place]:
    """Place all tensors of a model; each of several stacks of layers has a depth of its own."""
    found = {name: _LAYER.match(name) for name in names}
    counts: dict[str, int] = {}
    for match in found.values():
        if match is not None:
            count = int(match["number"]) + 1
            counts[match["stem"]] = max(counts.get(match["stem"], 0), count)
    return {
        name: Place(name, depth_in(int(match["number"]), counts[match["stem"]]) if match else 0.0)
        for name, match in found.items()
    }


def plain(setting: Varied) -> Any:
    """Return a setting as numbers, lists and tables, for reports."""
    if isinstance(setting, Choice):
        table: dict[str, Any] = {"filter": setting.filter} if setting.filter else {}
        return table | {"value": plain(setting.value)}
    if isinstance(setting, tuple):
        return [plain(item) for item in setting]
    return setting


def setting_text(setting: Varied) -> str:
    """Write a setting in one line."""
    if isinstance(setting, Choice):
        value = setting_text(setting.value)
        return f"{value} for {setting.filter}" if setting.filter else value
    if isinstance(setting, tuple):
        gradient = not any(isinstance(item, Choice) for item in setting)
        text = (", " if gradient else "; ").join(setting_text(item) for item in setting)
        return f"[{text}]" if gradient else text
    return f"{setting:g}"
