"""Why a step runs: its facts now against those of its last finished artifact."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneforge.step import Json

Kind = Literal["param", "input", "file", "version", "never", "damaged", "forced", "waits"]
_LONGEST = 60


@dataclass(frozen=True)
class Reason:
    """One reason; ``before`` and ``after`` are the two values where there are two."""

    kind: Kind
    subject: str
    before: Json = None
    after: Json = None

    def __str__(self) -> str:
        texts: dict[Kind, str] = {
            "param": f"{self.subject} {_change(self.before, self.after)}",
            "input": f"input {self.subject} changed",
            "file": f"file {self.subject} {self.after}",
            "version": f"step code version {self.before} -> {self.after}",
            "never": "never built",
            "damaged": f"artifact {self.subject}",
            "forced": "forced",
            "waits": f"waits for {self.subject}",
        }
        return texts[self.kind]

    def as_json(self) -> dict[str, Any]:
        """Give the reason as a JSON object, with its sentence."""
        return {**asdict(self), "text": str(self)}


ABSENT = "(absent)"


def compare(
    manifest: Mapping[str, Any],
    *,
    params: Mapping[str, Json],
    inputs: Mapping[str, tuple[str, str]],
    files: Mapping[str, str],
    version: int,
) -> Iterator[Reason]:
    """Yield each difference between an artifact's manifest and what the step would be now.

    ``inputs`` maps a role to (step id, digest); an empty digest is not known yet and not compared.
    """
    before = manifest["params"]
    for key in sorted({*before, *params}):
        old, new = before.get(key, ABSENT), params.get(key, ABSENT)
        if old != new:
            yield Reason("param", key, old, new)
    recorded = manifest["inputs"]
    for role in sorted({*recorded, *inputs}):
        if role not in inputs:
            yield Reason("param", f"input {role}", recorded[role]["step"], ABSENT)
        elif role not in recorded:
            yield Reason("param", f"input {role}", ABSENT, inputs[role][0])
        elif inputs[role][1] and recorded[role]["digest"] != inputs[role][1]:
            yield Reason("input", inputs[role][0])
    yield from _files(manifest.get("external", {}), files)
    if manifest["version"] != version:
        yield Reason("version", "", manifest["version"], version)


def _files(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Reason]:
    for role in sorted({*before, *after}):
        if role not in after:
            yield Reason("file", role, after="removed")
        elif role not in before:
            yield Reason("file", role, after="added")
        elif before[role] != after[role]:
            yield Reason("file", role, after="changed")


def _change(before: Json, after: Json) -> str:
    if before == ABSENT:
        return f"set to {_text(after)}"
    if after == ABSENT:
        return f"removed (was {_text(before)})"
    return f"changed {_text(before)} -> {_text(after)}"


def _text(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
