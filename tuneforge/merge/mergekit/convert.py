"""A mergekit configuration as the plain tables of a spec; what has no counterpart is refused."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tuneforge_specs.errors import UsageError
from tuneforge_specs.suggest import listing, nearest

from tuneforge.merge.mergekit.methods import IGNORED, KNOWN, Known
from tuneforge.merge.mergekit.models import Reference, reference
from tuneforge.merge.mergekit.settings import number, otherwise, setting, switch
from tuneforge.merge.mergekit.slices import merged_models, stacked_layers
from tuneforge.merge.mergekit.tokenizer import tokenizer

_KEYS: Final = frozenset(
    {"merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype", "name"}
    | {"tokenizer", "tokenizer_source"}
)
_REFUSED: Final = {
    "modules": "merge each module's model apart",
    "chat_template": "take it out: the tokenizer's own template is carried",
}
_DTYPES: Final = frozenset({"float32", "bfloat16", "float16"})
Table = dict[str, Any]


def spec_from(config: Any, name: str) -> Table:
    """Return the spec of one mergekit document.

    Raises UsageError that names the key for which there is no counterpart, with the way out.
    """
    if not isinstance(config, dict):
        raise UsageError(f"{name}: not a mergekit configuration", "it is a table of keys")
    _check_keys(config)
    method = config.get("merge_method")
    if method not in KNOWN:
        fix = nearest(method, KNOWN) if isinstance(method, str) else f"write {listing(KNOWN)}"
        raise UsageError(f"merge_method: {method!r} is not supported", fix)
    shared = _parameters(config.get("parameters"), "parameters")
    base = reference(config["base_model"], "base_model") if config.get("base_model") else None
    if base is not None and base.adapter:
        raise UsageError("base_model: a base with an adapter", "fold the adapter in first")
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or "merge"
    merge = {"method": method}
    if method == "passthrough":
        base, inputs, slices = stacked_layers(config, shared)
        merge |= {"inputs": inputs, "slices": slices}
    else:
        base, inputs, shared = _merged(config, base, shared, KNOWN[method], merge)
        merge["inputs"] = inputs
        merge |= _shared(method, KNOWN[method], shared)
    merge |= _dtype(config) | tokenizer(config, base)
    table: Table = {"model": base.model}
    if base.revision:
        table["revision"] = base.revision
    return {"spec": 1, "build": {"name": label}, "base": table, "merge": {"merged": merge}}


def _check_keys(config: Mapping[str, Any]) -> None:
    for key in config:
        if key in _REFUSED:
            raise UsageError(f"{key}: is not supported", _REFUSED[key])
        if key not in _KEYS:
            raise UsageError(f"{key}: is not a key this conversion knows", nearest(key, _KEYS))


def _parameters(value: Any, where: str) -> Table:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{where}: not a table of parameters", "write name: value")
    return {key: inner for key, inner in value.items() if key not in IGNORED}


def _merged(
    config: Mapping[str, Any], base: Reference | None, shared: Table, known: Known, merge: Table
) -> tuple[Reference, list[Table], Table]:
    """Return the base, the inputs, and the shared parameters with a lone slice's laid over them."""
    models, over = merged_models(config)
    for key, value in _parameters(over, "slices[0].parameters").items():
        shared[key] = otherwise(_read(known, key, value), _maybe(known, key, shared.get(key)))
    named = [
        (reference(entry.get("model"), f"{where}.model"), entry.get("parameters"), where)
        for where, entry in models
    ]
    if base is None and known.base == "needed":
        raise UsageError(f"base_model: {merge['method']} needs one", "name the models' base")
    if known.base == "deltas":
        merge["of"] = "weights" if base is None else "deltas"
    if known.base == "input" and base is not None and base not in [one for one, _, _ in named]:
        named.append((base, None, "base_model"))
    first = base or next((one for one, _, _ in named if not one.adapter), None)
    if first is None:
        raise UsageError("base_model: every input is an adapter", "name the model they belong to")
    inputs = []
    for one, parameters, where in named:
        if one == base and known.base != "input":
            continue
        inputs.append(one.input(first, where) | _input(known, parameters, shared, where))
        if where == "base_model" and "weight" in known.inputs and "weight" not in inputs[-1]:
            raise UsageError(
                f"base_model: {merge['method']} takes it as an input, which needs a weight",
                "name it under models with its weight, or take base_model out",
            )
    if merge["method"] == "slerp" and len(inputs) != 1:
        raise UsageError("models: slerp takes the base and one other", "name these two")
    return first, inputs, {k: v for k, v in shared.items() if k not in known.inputs}


def _read(known: Known, key: str, value: Any) -> Any:
    varied = key in known.inputs or key in known.numbers
    return setting(value, f"parameters.{key}") if varied else value


def _maybe(known: Known, key: str, value: Any) -> Any:
    return None if value is None else _read(known, key, value)


def _input(known: Known, value: Any, shared: Table, where: str) -> Table:
    """Return an input's own numbers; the shared ones count where it is silent."""
    own = _parameters(value, f"{where}.parameters")
    for key in own:
        if key not in known.inputs:
            raise UsageError(
                f"{where}.parameters.{key}: is no parameter of an input here",
                f"write it under the top `parameters`; inputs take {listing(known.inputs)}"
                if known.inputs
                else "write it under the top `parameters`",
            )
    found = {}
    for key in known.inputs:
        mine = setting(own[key], f"{where}.parameters.{key}") if key in own else None
        value = otherwise(mine, _maybe(known, key, shared.get(key)))
        if value is not None:
            found[key] = value
    return found


def _shared(method: str, known: Known, shared: Table) -> Table:
    merge: Table = {}
    for key, value in shared.items():
        where = f"parameters.{key}"
        if key in known.numbers:
            merge[known.numbers[key]] = setting(value, where)
        elif key in known.constants:
            merge[known.constants[key]] = number(value, where)
        elif key in known.switches:
            on = switch(value, where)
            merge[known.switches[key]] = not on if key == "nuslerp_flatten" else on
        elif key in {"rescale", "nuslerp_row_wise"} and not switch(value, where):
            continue
        else:
            takes = sorted({*known.numbers, *known.constants, *known.switches, *known.inputs})
            fix = f"{method} takes {listing(takes)}" if takes else f"{method} takes no parameters"
            raise UsageError(f"{where}: has no counterpart in {method}", f"take it out; {fix}")
    return merge


def _dtype(config: Mapping[str, Any]) -> Table:
    """Return the dtype of the result; computing is float32 whatever mergekit's `dtype` says."""
    value = config.get("out_dtype") or config.get("dtype")
    if value is None:
        return {}
    name = str(value).removeprefix("torch.")
    if name not in _DTYPES:
        raise UsageError(f"dtype: {value!r} is not supported", f"write {listing(sorted(_DTYPES))}")
    return {"dtype": name}
