"""mergekit's `models` and `slices`: whole models that are merged, or layers that are stacked."""

from collections.abc import Mapping
from typing import Any

from tuneforge_specs.errors import UsageError

from tuneforge.merge.mergekit.models import Reference, reference
from tuneforge.merge.mergekit.settings import otherwise, setting

Table = dict[str, Any]


def merged_models(config: Mapping[str, Any]) -> tuple[list[tuple[str, Table]], Any]:
    """Return (place, entry) of each model of a merge, and the parameters of a lone slice.

    A slice of all layers of several models is those models.
    """
    slices = config.get("slices")
    if slices is None:
        return _entries(config.get("models"), "models", {"model", "parameters"}), None
    _alone(config)
    ((where, only), *more) = _entries(slices, "slices", {"sources", "parameters"})
    if more:
        raise UsageError(
            "slices: several slices of merged layers are not supported",
            "use passthrough, or one slice of all layers with a list of numbers over the layers",
        )
    sources = _entries(only["sources"], f"{where}.sources", {"model", "layer_range", "parameters"})
    for here, source in sources:
        first, end = _range(source, here)
        count = reference(source.get("model"), f"{here}.model").layers()
        if first or (count is not None and end != count):
            raise UsageError(
                f"{here}.layer_range: [{first}, {end}] is not the whole model",
                "merge all layers; to cut some out, stack the result with passthrough",
            )
    return sources, only.get("parameters")


def stacked_layers(
    config: Mapping[str, Any], shared: Table
) -> tuple[Reference, list[Table], list[Table]]:
    """Return the base, the inputs and the slices of a passthrough merge.

    mergekit takes what lies before the layers from the first slice's model and what comes after
    from the last one's; here both are the base's, so they have to be one model.
    """
    _alone(config)
    if config.get("slices") is None:
        raise UsageError("slices: passthrough needs them", "write slices with layer ranges")
    entries = _entries(config["slices"], "slices", {"sources", "parameters"})
    order: list[Reference] = []
    found = []
    for where, entry in entries:
        sources = _entries(
            entry["sources"], f"{where}.sources", {"model", "layer_range", "parameters"}
        )
        if len(sources) != 1:
            raise UsageError(f"{where}.sources: passthrough takes one", "name one model a slice")
        here, source = sources[0]
        model = reference(source.get("model"), f"{here}.model")
        if model not in order:
            order.append(model)
        part: Table = {"input": order.index(model), "layers": list(_range(source, here))}
        scale = _scale(source, entry, shared, here)
        found.append(part if scale is None else part | {"scale": scale})
    first, last = order[found[0]["input"]], order[found[-1]["input"]]
    if first != last:
        raise UsageError(
            f"slices: the first is of {first.model}, the last of {last.model}; mergekit takes the "
            "output head from the last",
            "begin and end with the same model, or write a spec with the base you want",
        )
    return first, [model.input(None, "slices") for model in order], found


def _scale(source: Table, entry: Table, shared: Table, where: str) -> Any:
    scale = None
    for table in (source.get("parameters"), entry.get("parameters"), shared):
        for key, value in (table or {}).items():
            if key != "scale":
                raise UsageError(f"{where}: passthrough has no {key!r}", "take it out")
            scale = otherwise(scale, setting(value, f"{where}.scale"))
    return scale


def _alone(config: Mapping[str, Any]) -> None:
    if config.get("models") is not None:
        raise UsageError("models: cannot stand beside slices", "keep one of them")


def _entries(value: Any, where: str, keys: set[str]) -> list[tuple[str, Table]]:
    if not isinstance(value, list) or not value:
        raise UsageError(f"{where}: no list of models", "write models or slices")
    found = []
    for index, entry in enumerate(value):
        here = f"{where}[{index}]"
        needed = "sources" if "sources" in keys else "model"
        if not isinstance(entry, dict) or needed not in entry:
            raise UsageError(f"{here}: has no {needed}", f"write {needed}: ...")
        for key in entry:
            if key not in keys:
                raise UsageError(f"{here}.{key}: is not supported", "take it out")
        found.append((here, entry))
    return found


def _range(source: Table, where: str) -> tuple[int, int]:
    value = source.get("layer_range")
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    ):
        raise UsageError(f"{where}.layer_range: {value!r} is no range", "write [first, end]")
    return value[0], value[1]
