"""Plan a stack of layers: which tensor of which input becomes which layer of the result."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import PassthroughMerge
from tuneforge_specs.settings import Varied

from tuneforge.merge.model import Model
from tuneforge.merge.place import Place, depth_in
from tuneforge.merge.plan import TensorPlan
from tuneforge.merge.sources import Source
from tuneforge.weights import Entry
from tuneforge.weights.dtypes import FROM_TORCH, MERGEABLE

_LAYER = re.compile(r"(?P<stem>(?:.*\.)?(?:layers|h|blocks)\.)(?P<number>\d+)(?P<rest>\..+)")
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers")


def stacked(
    base: Model, sources: Sequence[Source], spec: PassthroughMerge
) -> tuple[list[TensorPlan], dict[str, Any]]:
    """Return the tensors of the stack and the config keys that change with the depth.

    Raises DataError where an input is no full model, lacks a layer, or has other shapes.
    """
    outside = [name for name in base.weights if _LAYER.fullmatch(name) is None]
    tensors = [TensorPlan(_entry(base, name, name, spec), "copy", ()) for name in outside]
    if spec.dtype != "auto":
        tensors = [TensorPlan(tensor.entry, "cast", ()) for tensor in tensors]
    shapes = _layer_shapes(base)
    layer = 0
    types: list[Any] = []
    for part in spec.slices:
        source = sources[part.input]
        if source.model is None:
            raise DataError(
                f"{source.label}: an adapter has no layers of its own to stack",
                'merge it with method = "lora" first and stack the result',
            )
        known = source.model.config.get("layer_types")
        first, end = part.layers
        for number in range(first, end):
            depth = depth_in(number - first, end - first)
            scale = partial(_scale, part.scale, depth)
            tensors += _layer(source, source.model, number, layer, shapes, scale, spec)
            types += [known[number]] if isinstance(known, list) else []
            layer += 1
    config: dict[str, Any] = {key: layer for key in _COUNTS if key in base.config}
    if isinstance(base.config.get("layer_types"), list) and len(types) == layer:
        config["layer_types"] = types
    return tensors, config


def _scale(setting: Varied, depth: float, name: str) -> float:
    return Place(name, depth).value(setting, 1.0)


def _layer_shapes(base: Model) -> dict[str, tuple[int, ...]]:
    """Return the shape of each kind of layer tensor, by what follows the layer's number."""
    found = {}
    for name, info in base.weights.items():
        match = _LAYER.fullmatch(name)
        if match is not None:
            found[match["stem"] + "*" + match["rest"]] = info.shape
    return found


def _layer(
    source: Source, model: Model, number: int, to: int, shapes: dict[str, tuple[int, ...]],
    scale: Callable[[str], float], spec: PassthroughMerge,
) -> list[TensorPlan]:  # fmt: skip
    found = []
    for name, info in model.weights.items():
        match = _LAYER.fullmatch(name)
        if match is None or int(match["number"]) != number:
            continue
        kind = match["stem"] + "*" + match["rest"]
        if shapes.get(kind) != info.shape:
            raise DataError(
                f"{source.label}: {name} has shape {info.shape}, the base has {shapes.get(kind)}",
                "stack layers of models of one architecture and width",
            )
        entry = _entry(model, name, f"{match['stem']}{to}{match['rest']}", spec)
        found.append(TensorPlan(entry, "stack", (source,), origin=name, scale=scale(name)))
    if len(found) < len(shapes):
        raise DataError(
            f"{source.label}: layer {number} is not there or lacks tensors",
            "name layers that the model has, counted from 0",
        )
    return found


def _entry(model: Model, name: str, to: str, spec: PassthroughMerge) -> Entry:
    info = model.weights[name]
    dtype = info.dtype
    if spec.dtype != "auto" and dtype in MERGEABLE:
        dtype = FROM_TORCH[spec.dtype]
    return Entry(to, dtype, info.shape)
