"""mergekit's references to models: a folder or hub id, `@revision`, and `+adapter`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import UsageError


@dataclass(frozen=True)
class Reference:
    """A model, and the adapter on top of it if there is one."""

    model: str
    revision: str = ""
    adapter: str = ""

    def input(self, base: "Reference | None", where: str) -> dict[str, Any]:
        """Return the entry of `inputs`."""
        if not self.adapter:
            if self.revision:
                raise UsageError(
                    f"{where}: the revision {self.revision!r} of an input cannot be named",
                    "download it and name its folder",
                )
            return {"model": self.model}
        if base is None or (base.model, base.revision) != (self.model, self.revision):
            raise UsageError(
                f"{where}: an adapter on {self.model}, which is not the base of this merge",
                'fold it into its own model first, with method = "lora"',
            )
        return {"adapter": self.adapter}

    def layers(self) -> int | None:
        """Return how many layers a model in a local folder has, None where that is not known."""
        try:
            config: Any = json.loads((Path(self.model) / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        count = config.get("num_hidden_layers") if isinstance(config, dict) else None
        return count if isinstance(count, int) else None


def reference(value: Any, where: str) -> Reference:
    """Read a reference, as text or as a table."""
    if isinstance(value, dict):
        if set(value) - {"model", "lora"}:
            extra = min(set(value) - {"model", "lora"})
            raise UsageError(f"{where}.{extra}: is not supported", "take it out")
        model = _path(value.get("model"), f"{where}.model")
        adapter = _path(value["lora"], f"{where}.lora") if value.get("lora") else ("", "")
    elif isinstance(value, str) and value:
        text, _, lora = value.partition("+")
        model, adapter = _path(text, where), _path(lora, where) if lora else ("", "")
    else:
        raise UsageError(f"{where}: {value!r} names no model", "write a folder or a hub id")
    if adapter[1]:
        raise UsageError(
            f"{where}: the revision {adapter[1]!r} of an adapter", "download it and name its folder"
        )
    return Reference(*model, adapter[0])


def _path(value: Any, where: str) -> tuple[str, str]:
    if isinstance(value, dict) and set(value) <= {"path", "revision"}:
        return str(value.get("path", "")), str(value.get("revision") or "")
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: {value!r} names no model", "write a folder or a hub id")
    path, _, revision = value.partition("@")
    return path, revision
