"""Everything of a model folder that is not weights: config, tokenizer, template, generation."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tuneforge.merge.plan import MergePlan
from tuneforge.merge.vocabulary.read import holds_tokenizer
from tuneforge.merge.vocabulary.write import write_tokenizer
from tuneforge.weights.dtypes import TORCH_NAMES

TOKENIZER: Final = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
OTHERS: Final = ("generation_config.json", "preprocessor_config.json", "processor_config.json")


def carry_files(plan: MergePlan, folder: Path, tokenizers: Sequence[Path]) -> str:
    """Write config.json and copy the rest; return the name of the folder the tokenizer is from.

    The last of ``tokenizers`` that holds one wins over the base's: training gave it the chat
    template that its rows were rendered with.
    """
    base = plan.base.folder
    for name in OTHERS:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    config = json.dumps(merged_config(plan), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "config.json").write_text(config + "\n", "utf-8")
    if plan.alignment is not None:
        return write_tokenizer(plan.alignment, folder, TOKENIZER)
    chosen = next((path for path in reversed(tokenizers) if holds_tokenizer(path)), base)
    for name in TOKENIZER:
        if (chosen / name).is_file():
            shutil.copyfile(chosen / name, folder / name)
    return chosen.name


def merged_config(plan: MergePlan) -> dict[str, Any]:
    """Return the base's config with the dtype of the result and what else the plan changes."""
    config = dict(plan.base.config)
    codes = [t.entry.dtype for t in plan.tensors if t.entry.dtype in TORCH_NAMES]
    if codes:
        dtype = TORCH_NAMES[max(set(codes), key=codes.count)]
        _set_dtype(config, dtype)
    return config | dict(plan.config)


def _set_dtype(config: dict[str, Any], dtype: str) -> None:
    """Set the dtype under the key that is there; transformers 5 writes `dtype`."""
    config["torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"] = dtype
    for key, value in config.items():
        if (
            key.endswith("_config")
            and isinstance(value, dict)
            and {"dtype", "torch_dtype"} & set(value)
        ):
            config[key] = dict(value)
            _set_dtype(config[key], dtype)
