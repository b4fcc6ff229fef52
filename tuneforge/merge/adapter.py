"""A PEFT LoRA folder: its configuration and where the factors of each module lie."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import DataError

from tuneforge.merge.adapter_kinds import kind_by_peft, read_config
from tuneforge.weights import Weights, open_weights

PREFIX: Final = "base_model.model."
_PARTS = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?P<leaf>\.weight|\.bias)?"
)
# These start from a base whose weights the initialisation itself changed.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_UNSUPPORTED = {
    "layer_replication": "replicates layers",
    "alora_invocation_tokens": "is an activated LoRA, which acts on some tokens only",
    "arrow_config": "routes between adapters",
    "use_qalora": "is a QALoRA adapter",
    "velora_config": "is a VeLoRA adapter",
}


@dataclass(frozen=True)
class Factors:
    """The low-rank update of one module: keys into the adapter's weights, and how it scales."""

    module: str
    a: str
    b: str
    rank: int
    scaling: float
    embedding: bool
    bias: str = ""
    magnitude: str = ""


@dataclass
class Adapter:
    """A PEFT LoRA adapter.

    ``replaced`` maps base tensor names to keys of whole new tensors; the keys that lie beneath an
    update (a resized embedding, say) are in ``beneath``.
    """

    folder: Path
    config: Mapping[str, Any]
    weights: Weights
    factors: dict[str, Factors] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    beneath: set[str] = field(default_factory=set)

    @property
    def transposed(self) -> bool:
        """Whether the base stores its linear weights as [in, out] (GPT-2's Conv1D)."""
        return bool(self.config.get("fan_in_fan_out"))


def read_adapter(folder: Path) -> Adapter:
    """Read a PEFT folder without loading its weights.

    Raises EnvironmentMissing when it is not there; DataError when it is damaged, or a kind of
    adapter whose merge is not a sum of low-rank products.
    """
    config = _config(folder)
    adapter = Adapter(folder, config, open_weights(folder, stem="adapter_model"))
    parts: dict[str, dict[str, str]] = {}
    for key in adapter.weights:
        name = key.removeprefix(PREFIX)
        match = _PARTS.fullmatch(name)
        if match is not None:
            leaf = "bias" if match["leaf"] == ".bias" else "weight"
            parts.setdefault(match["module"], {})[f"{match['part']}.{leaf}"] = key
        elif "lora_" in name or "token_adapter" in name:
            raise DataError(f"{folder}: {key!r} is no part of a LoRA that can be merged", _PEFT)
        else:
            plain = name.replace(".modules_to_save.", ".").replace(".base_layer.", ".")
            adapter.replaced[plain] = key
            if ".base_layer." in name:
                adapter.beneath.add(key)
    for module, keys in parts.items():
        adapter.factors[module] = _factors(adapter, module, keys)
    if not adapter.factors and not adapter.replaced:
        raise DataError(f"{folder}: the adapter holds no weights", "train it again")
    return adapter


_FOLD = (
    'fold it into its base first, [merge.NAME] method = "lora", and go on with { merge = "NAME" }'
)
_PEFT = "merge it with peft (merge_and_unload) and give the result as `model = ...`"


def _config(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    kind = kind_by_peft(folder, config)
    if kind:
        raise DataError(f"{folder}: a {kind} adapter is not a sum of low-rank products", _FOLD)
    for key, what in _UNSUPPORTED.items():
        if config.get(key):
            raise DataError(f"{folder}: this adapter {what} ({key})", _PEFT)
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGES_BASE):
        raise DataError(
            f"{folder}: initialised by {start}, which changed the base it trained on",
            "save it as plain LoRA: save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...)",
        )
    return config


def _factors(adapter: Adapter, module: str, keys: dict[str, str]) -> Factors:
    embedding = "lora_embedding_A.weight" in keys
    stem = "lora_embedding" if embedding else "lora"
    if f"{stem}_A.weight" not in keys or f"{stem}_B.weight" not in keys:
        raise DataError(f"{adapter.folder}: {module} has only one of its two factors", "restore it")
    a, b = keys[f"{stem}_A.weight"], keys[f"{stem}_B.weight"]
    shapes = adapter.weights[a].shape, adapter.weights[b].shape
    if len(shapes[0]) != 2 or len(shapes[1]) != 2:
        raise DataError(f"{adapter.folder}: {module} is not a linear layer or embedding", _PEFT)
    rank, alpha = _pattern(adapter.config, module)
    if shapes[0][0] != rank or shapes[1][1] != rank:
        raise DataError(
            f"{adapter.folder}: the factors of {module} have shapes {shapes[0]} and {shapes[1]}, "
            f"the configuration says rank {rank}",
            "restore the adapter: its weights and its adapter_config.json do not belong together",
        )
    scaling = alpha / (math.sqrt(rank) if adapter.config.get("use_rslora") else rank)
    return Factors(
        module, a, b, rank, scaling, embedding,
        bias=keys.get("lora_B.bias", ""),
        magnitude=keys.get("lora_magnitude_vector.weight", ""),
    )  # fmt: skip


def _pattern(config: Mapping[str, Any], module: str) -> tuple[int, float]:
    """Return rank and alpha of a module, by PEFT's rule: a pattern matches the end of its path."""

    def look(patterns: Mapping[str, Any] | None, default: Any) -> Any:
        for pattern, value in (patterns or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        return default

    rank = look(config.get("rank_pattern"), config.get("r"))
    alpha = look(config.get("alpha_pattern"), config.get("lora_alpha"))
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise DataError(
            f"{module}: r and lora_alpha are not numbers", "restore adapter_config.json"
        )
    return rank, alpha
