"""Job "fold": adapters that only PEFT can merge, folded into a base. Loads torch.

Writes the tensors that differ from the base's, under the names the base stores them by, to
``changed.safetensors``. One thread, whatever the machine has: sums would differ otherwise.
"""

import warnings
from pathlib import Path
from typing import Any, Final

import torch
from tuneforge_specs.errors import DataError

from tuneforge.merge.base import Onto, base_rows
from tuneforge.merge.blocks import matrix_shape, row_blocks
from tuneforge.merge.by_peft import CHANGED
from tuneforge.merge.model import Model, open_model
from tuneforge.worker.run import WorkerRun

_FIX: Final = "merge into the base it was trained on, with the version of PEFT that trained it"


def fold(job: dict[str, Any], run: WorkerRun) -> None:
    """Put the job's adapters on its base one after the other and merge each."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    run.phase("loading the base")
    base, onto = open_model(Path(job["base"])), Onto(job["onto"])
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=getattr(torch, job["dtype"]))
    if onto.dtype:
        _dequantise(model, base, onto)
    for folder in map(Path, job["adapters"]):
        run.phase(f"folding {folder.name}")
        model = _folded(model, folder)
    run.phase("comparing with the base")
    changed = _changed(model, base, onto)
    if changed:
        save_file(changed, run.output / f"{CHANGED}.safetensors", metadata={"format": "pt"})
    run.summary.update(tensors=len(changed))


def _folded(model: Any, folder: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
        except (RuntimeError, ValueError, KeyError, TypeError, NotImplementedError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{folder}: PEFT cannot merge it: {line}", _FIX) from error
    missing = [str(told.message) for told in caught if "missing adapter keys" in str(told.message)]
    if missing:
        raise DataError(f"{folder}: {missing[0].splitlines()[0]}", _FIX)
    return merged


def _dequantise(model: Any, base: Model, onto: Onto) -> None:
    for name, parameter in model.named_parameters():
        stored = base.find(name)
        if stored and base.weights[stored].shape == tuple(parameter.shape):
            for first, last, rows in _rows(base, stored, onto):
                matrix = parameter.data.reshape(matrix_shape(parameter.shape))
                matrix[first:last] = rows.to(parameter.dtype)


def _rows(base: Model, stored: str, onto: Onto) -> Any:
    source = base_rows(base, stored, onto)
    rows, columns = matrix_shape(base.weights[stored].shape)
    for first, last in row_blocks(rows, columns, source.multiple):
        yield first, last, torch.from_numpy(source.rows(first, last))


def _changed(model: Any, base: Model, onto: Onto) -> dict[str, torch.Tensor]:
    """Return what differs from the base, each tensor under the name the base has it by."""
    changed: dict[str, torch.Tensor] = {}
    seen: dict[str, int] = {}
    for name, value in model.state_dict().items():
        stored = base.find(name)
        if not stored or base.weights[stored].shape != tuple(value.shape):
            raise DataError(
                f"{base.folder}: transformers holds {name}, which is not stored so",
                "fold the adapter with peft, save the model, and give it as `model = ...`",
            )
        if stored in seen:
            if seen[stored] != value.data_ptr():
                raise DataError(
                    f"{name}: trained apart from the embedding it is tied to",
                    "fold the adapter with peft, save the model, and give it as `model = ...`",
                )
            continue
        seen[stored] = value.data_ptr()
        matrix = value.detach().reshape(matrix_shape(value.shape))
        for first, last, rows in _rows(base, stored, onto):
            if not torch.equal(rows.to(value.dtype), matrix[first:last]):
                changed[stored] = value.detach().contiguous()
                break
    return changed
