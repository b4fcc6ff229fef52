"""From the inputs a spec names to opened models and adapters, and the base weights they go onto."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import (
    AdapterInput,
    LoraExtractMerge,
    Merge,
    MergedInput,
    ModelInput,
    ModelMerge,
    TrainInput,
)
from tuneforge_specs.settings import Varied

from tuneforge.merge.adapter import read_adapter
from tuneforge.merge.base import Onto
from tuneforge.merge.lora import pieces_for
from tuneforge.merge.model import Model, open_model
from tuneforge.merge.place import places
from tuneforge.merge.sources import Source
from tuneforge.merge.vocabulary.read import holds_tokenizer
from tuneforge.weights.dtypes import FROM_TORCH

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class InputFolder:
    """Where one input lies; ``training`` is its training.json, empty for folders from outside."""

    label: str
    folder: Path
    adapter: bool
    training: Facts


def _label(written: str, folder: Path) -> str:
    """Return the last part of what the spec says: a hub model's folder is named by its commit."""
    return PurePath(written).name or folder.name


def input_folder(
    entry: TrainInput | MergedInput | ModelInput | AdapterInput, folder: Path
) -> InputFolder:
    """Describe an input: ``folder`` is the artifact of a step, the model or the adapter."""
    if isinstance(entry, TrainInput | MergedInput):
        label = f"train.{entry.train}" if isinstance(entry, TrainInput) else f"merge.{entry.merge}"
        adapter = (folder / "adapter").is_dir()
        place = folder / ("adapter" if adapter else "model")
        return InputFolder(label, place, adapter, _training(folder) if adapter else {})
    if isinstance(entry, ModelInput):
        return InputFolder(_label(entry.model, folder), folder, False, {})
    return InputFolder(
        _label(entry.adapter, folder), folder, True, _training(folder) or _training(folder.parent)
    )


def _training(folder: Path) -> Facts:
    """Read what an adapter belongs on, from the training or the merge that made it."""
    for name in ("training.json", "merge.json"):
        try:
            facts = json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict):
            return facts
    return {}


def open_sources(
    base: Model, base_digest: str, spec: ModelMerge, folders: Sequence[InputFolder]
) -> list[Source]:
    """Open every input and fit it to the base; read headers only.

    Raises DataError for an adapter that was trained on another base.
    """
    sources = []
    for entry, place in zip(spec.inputs, folders, strict=True):
        check_base(place, base_digest)
        common: dict[str, Any] = {
            "label": place.label,
            "weight": entry.weight,
            "density": entry.density,
        }
        common["tokenizer"] = place.folder if holds_tokenizer(place.folder) else None
        if not place.adapter:
            sources.append(Source(**common, model=open_model(place.folder)))
            continue
        adapter = read_adapter(place.folder)
        # Only a fold scales exactly; the deltas of other methods are weighted by the method.
        if spec.method == "lora":
            pieces = pieces_for(base, adapter, _weigher(base, entry.weight))
        else:
            pieces = pieces_for(base, adapter)
        sources.append(Source(**common, pieces=pieces))
    return sources


def _weigher(base: Model, weight: Varied) -> Callable[[str], float]:
    found = places(base.weights)
    return lambda name: found[name].value(weight, 1.0)


def check_base(place: InputFolder, base_digest: str) -> None:
    """Refuse an adapter that was trained on another base; digests are empty where unknown."""
    trained = place.training.get("base")
    digest = trained.get("digest") if isinstance(trained, dict) else None
    if digest and base_digest and digest != base_digest:
        raise DataError(
            f"{place.label}: trained on another base (digest {str(digest)[:12]}, this base is "
            f"{base_digest[:12]})",
            "merge it into the base it was trained on, or train it again on this one",
        )


def choose_onto(spec: Merge, folders: Sequence[InputFolder], dtype: str) -> Onto:
    """Decide between the stored base and its NF4 form; ``dtype`` is base.dtype of the spec.

    ``auto`` takes what the adapters were trained on, by their training.json; adapters from
    elsewhere count as trained on the original weights. Raises DataError where they disagree.
    """
    if isinstance(spec, LoraExtractMerge):
        return Onto(FROM_TORCH.get(dtype, "F32") if spec.onto == "dequantised" else "")
    adapters = [place for place in folders if place.adapter]
    trained = {place.label: quantised_dtype(place) for place in adapters}
    if spec.onto == "original" or not adapters:
        return Onto()
    known = sorted({code for code in trained.values() if code})
    if spec.onto == "dequantised":
        return Onto(known[0] if known else FROM_TORCH.get(dtype, "F32"))
    if not known:
        return Onto()
    if len(known) > 1 or "" in trained.values():
        lines = ", ".join(f"{name}: {code or 'not quantised'}" for name, code in trained.items())
        raise DataError(
            f"the adapters were trained on different forms of the base ({lines})",
            'say which weights to merge onto: onto = "dequantised" or onto = "original"',
        )
    return Onto(known[0])


def quantised_dtype(place: InputFolder) -> str:
    """Return the compute dtype of the NF4 base an adapter trained on; empty if it was not NF4."""
    base = place.training.get("base")
    if not isinstance(base, dict) or base.get("quantize") != "nf4":
        return ""
    return FROM_TORCH.get(str(base.get("dtype")).removeprefix("torch."), "F32")
