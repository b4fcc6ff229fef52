"""Kinds of PEFT adapters: folded here, folded by PEFT itself through torch, or never.

LoRA is a sum of low-rank products and needs no torch. What other kinds do to a weight is PEFT's own
code; those below were compared, adapter on and merged, and some cannot be merged at all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import DataError, EnvironmentMissing

CONFIG: Final = "adapter_config.json"
BY_PEFT: Final = frozenset(
    {
        "ADALORA", "BOFT", "C3A", "DELORA", "FOURIERFT", "GRALORA", "HIRA", "HRA", "IA3",
        "LN_TUNING", "LOHA", "LOKR", "MISS", "OFT", "PVERA", "RANDLORA", "ROAD", "SHIRA",
        "TRAINABLE_TOKENS", "VBLORA", "VERA", "WAVEFT",
    }
)  # fmt: skip
# LoRA of these forms reaches beyond single linear layers; PEFT merges them.
_LORA_BY_PEFT = ("target_parameters", "trainable_token_indices")
_PROMPTS = "acts on the model's input or attention cache, which no weight holds"
_NEVER: Final = {
    "PROMPT_TUNING": _PROMPTS,
    "MULTITASK_PROMPT_TUNING": _PROMPTS,
    "P_TUNING": _PROMPTS,
    "PREFIX_TUNING": _PROMPTS,
    "CPT": _PROMPTS,
    "CARTRIDGE": _PROMPTS,
    "ADAPTION_PROMPT": "adds attention to prompts of its own, which no weight holds",
    "POLY": "chooses between adapters by the task",
    "XLORA": "weighs several adapters for each token",
}


def read_config(folder: Path) -> dict[str, Any]:
    """Read a PEFT folder's configuration. Raises EnvironmentMissing or DataError."""
    file = folder / CONFIG
    if not file.is_file():
        raise EnvironmentMissing(
            f"{folder}: no {CONFIG}, so this is not a PEFT adapter folder",
            "for a folder of full weights write `model = ...` instead of `adapter = ...`",
        )
    try:
        config: Any = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON", "restore the adapter") from error
    if not isinstance(config, dict):
        raise DataError(f"{file}: not a JSON object", "restore the adapter")
    return config


def kind_by_peft(folder: Path, config: Mapping[str, Any]) -> str:
    """Return what an adapter is called that PEFT has to fold; empty for one that we fold.

    Raises DataError for kinds that have no place in a model's weights, or that are not known.
    """
    kind = str(config.get("peft_type"))
    if kind == "LORA":
        form = next((key for key in _LORA_BY_PEFT if config.get(key)), "")
        return f"LoRA with {form}" if form else ""
    if kind in BY_PEFT:
        return kind
    if kind in _NEVER:
        raise DataError(
            f"{folder}: a {kind} adapter cannot be merged: it {_NEVER[kind]}",
            "serve it as an adapter on its base, or train a LoRA",
        )
    raise DataError(
        f"{folder}: a {kind} adapter; no merge of that kind is known to be right",
        "merge it with peft (merge_and_unload), check it, and give the result as `model = ...`",
    )
