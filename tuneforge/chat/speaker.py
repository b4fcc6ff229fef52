"""Which model a user means, and all that is needed to load it and to know when it is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.loader import LoadedSpec

from tuneforge.card.provenance import lineage
from tuneforge.evaluate.job import belongs_on
from tuneforge.step import Artifact
from tuneforge.workspace import Workspace


@dataclass(frozen=True)
class Speaker:
    """A model folder, the adapter on it if any, and the token ids that end its turns."""

    name: str
    model: Path
    adapter: Path | None = None
    quantize: str = "none"
    terminators: tuple[int, ...] = ()

    @property
    def tokenizer(self) -> Path:
        """The folder whose tokenizer and chat template belong to the model."""
        return self.adapter or self.model


def speaker_in_folder(folder: Path) -> Speaker:
    """Take a folder of full weights, as exported or downloaded."""
    if (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"{folder} is an adapter, not a model",
            "name the train step of a spec that made it, or merge it: tuneforge merge --help",
        )
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json", "name a Hugging Face model folder")
    return Speaker(folder.name, folder, terminators=ends_of(folder))


def ends_of(folder: Path) -> tuple[int, ...]:
    """Read the ids that end generation from a model folder's configs; () where it names none."""
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        ends = (
            json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            if file.is_file()
            else None
        )
        if ends is not None:
            return tuple(ends) if isinstance(ends, list) else (ends,)
    return ()


def speaker_in_spec(loaded: LoadedSpec, workspace: Workspace, name: str) -> Speaker:
    """Take a merge, train step or the base of a spec, as it was last built.

    ``name`` may be empty: then the last merge is meant, else the last train step.
    """
    step = _step(loaded, name)
    artifact = workspace.last(step, loaded.path)
    base = workspace.last("base", loaded.path)
    if artifact is None or base is None:
        raise EnvironmentMissing(
            f"{step} is not built yet", f"tuneforge build {loaded.path} --only {step}"
        )
    ends = _trained_ends(artifact, workspace)
    adapter = artifact.path / "adapter"
    if adapter.is_dir():
        quantize = belongs_on(artifact.path, loaded.spec.base.quantize)
        return Speaker(step, base.path / "model", adapter, quantize, ends)
    folder = artifact.path / "model"
    return Speaker(step, folder, terminators=ends or ends_of(folder))


def models_of(loaded: LoadedSpec) -> list[str]:
    """Name the steps of a spec that make a model, the one that is nearest to the end last."""
    spec = loaded.spec
    return ["base", *(f"train.{n}" for n in spec.train), *(f"merge.{n}" for n in spec.merge)]


def _step(loaded: LoadedSpec, name: str) -> str:
    known = models_of(loaded)
    if not name:
        return known[-1]
    named = [step for step in known if name in (step, step.partition(".")[2])]
    if len(named) != 1:
        raise UsageError(
            f"{name} is no folder, and {'no' if not named else 'more than one'} model of "
            f"{loaded.path}",
            f"the models are: {', '.join(known)}",
        )
    return named[0]


def _trained_ends(artifact: Artifact, workspace: Workspace) -> tuple[int, ...]:
    ends: dict[int, None] = {}
    for rendering in lineage(workspace, [artifact]).of_kind("render"):
        facts: dict[str, Any] = json.loads((rendering.path / "rendering.json").read_text())
        ends |= dict.fromkeys(facts["terminators"])
    return tuple(ends)
