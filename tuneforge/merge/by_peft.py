"""Adapters that PEFT folds, in a worker with torch: what they touch, the job, and its result.

The worker writes the tensors that came out changed, under the base's names. From there they are
merged as whole new tensors of an adapter are, so that shards, dtypes and reports are the same as
without torch.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.merge import LoraMerge, Merge
from tuneforge_specs.settings import values_of

from tuneforge.merge.adapter import PREFIX, Adapter
from tuneforge.merge.adapter_kinds import kind_by_peft, read_config
from tuneforge.merge.base import Onto
from tuneforge.merge.lora import Replace
from tuneforge.merge.model import Model
from tuneforge.merge.resolve import InputFolder
from tuneforge.merge.sources import Source
from tuneforge.weights import open_weights
from tuneforge.weights.dtypes import TORCH_NAMES

RunJob = Callable[[dict[str, Any]], Path]
PACKAGES: Final = ("torch", "transformers", "peft")
CHANGED: Final = "changed"


def kinds_by_peft(spec: Merge, inputs: Sequence[InputFolder]) -> dict[str, str]:
    """Return, by label, the kinds of the adapters that PEFT has to fold; empty where none is.

    Raises DataError for kinds that cannot be merged, and for what PEFT does not do.
    """
    kinds = {
        place.label: kind_by_peft(place.folder, read_config(place.folder))
        for place in inputs
        if place.adapter
    }
    found = {label: kind for label, kind in kinds.items() if kind}
    if not found:
        return {}
    label, kind = next(iter(found.items()))
    if not isinstance(spec, LoraMerge):
        raise DataError(
            f"{label}: a {kind} adapter is folded by PEFT, into its base alone",
            'fold it first, [merge.NAME] method = "lora", and give { merge = "NAME" } here; '
            'without a build: tuneforge merge, then `model = "FOLDER"`',
        )
    for place, entry in zip(inputs, spec.inputs, strict=True):
        if set(values_of(entry.weight)) != {1.0}:
            raise DataError(
                f"{place.label}: PEFT folds a {kind} adapter whole, so no input may have a weight",
                'fold it first and scale the result with method = "task_arithmetic"',
            )
    if spec.tokenizer != "auto":
        raise DataError(
            f"tokenizer: {label} is a {kind} adapter, folded into the base's own vocabulary",
            "take `tokenizer` out",
        )
    return found


def check_packages(kinds: Mapping[str, str]) -> None:
    """Raise EnvironmentMissing where a package is missing that folding needs."""
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        label, kind = next(iter(kinds.items()))
        raise EnvironmentMissing(
            f"{label}: a {kind} adapter is folded through torch; not installed: "
            f"{', '.join(missing)}",
            'pip install "tuneforge[train]"',
        )


def planned(base: Model, inputs: Sequence[InputFolder], kinds: Mapping[str, str]) -> list[Source]:
    """Return sources that say which tensors will be touched, by the names of the adapter's parts.

    Reads headers only, and refuses damaged or hostile ones. Raises DataError where no part belongs
    to a tensor of the base.
    """
    sources = []
    for place in inputs:
        touched: set[str] = set()
        with open_weights(place.folder, stem="adapter_model") as weights:
            for key in weights:
                touched |= _touched(base, key.removeprefix(PREFIX))
        if not touched and not read_config(place.folder).get("target_parameters"):
            raise DataError(
                f"{place.folder}: none of its parts belongs to a tensor of {base.folder}",
                "merge into the base it was trained on",
            )
        kind = kinds.get(place.label, "LoRA")
        sources.append(Source(place.label, kind=kind, by_peft=frozenset(touched)))
    return sources


def _touched(base: Model, part: str) -> set[str]:
    """Return the base's tensors of the module that a part of an adapter belongs to."""
    module = part
    while module:
        found = {name for leaf in ("weight", "bias") if (name := base.find(f"{module}.{leaf}"))}
        if found:
            weight = base.find(f"{module}.weight")
            return {weight} if weight else found
        module = module.rpartition(".")[0]
    return set()


def fold(base: Model, inputs: Sequence[InputFolder], onto: Onto, run_job: RunJob) -> list[Source]:
    """Let PEFT fold the adapters one after the other; return one source with what came out."""
    output = run_job(
        {
            "kind": "fold",
            "base": str(base.folder),
            "dtype": TORCH_NAMES[model_dtype(base)],
            "onto": onto.dtype,
            "adapters": [str(place.folder) for place in inputs],
        }
    )
    weights = open_weights(output, stem=CHANGED) if any(output.glob("*.safetensors")) else None
    label = " + ".join(place.label for place in inputs)
    if weights is None:
        return [Source(label)]
    changed = Adapter(output, {}, weights)
    return [Source(label, pieces={name: [Replace(changed, name)] for name in weights})]


def model_dtype(base: Model) -> str:
    """Return the code of the dtype that most of the base's tensors have."""
    codes = [tensor.dtype for tensor in base.weights.values() if tensor.dtype in TORCH_NAMES]
    return max(sorted(set(codes)), key=codes.count, default="F32")
