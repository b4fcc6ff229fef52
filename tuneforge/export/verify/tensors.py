"""The tensors of a GGUF file, read back and compared with the source, element by element."""

import math
from collections.abc import Callable

import numpy as np

from tuneforge.export.gguf.config import Config
from tuneforge.export.verify.bounds import Rows, error_bound
from tuneforge.export.verify.gguf_file import READER, GgufFile
from tuneforge.export.verify.report import Report
from tuneforge.weights import Weights

BLOCK_BYTES = 4 << 20  # float32 bytes compared at a time: bounds memory, whatever the tensor


def check_tensors(file: GgufFile, config: Config, weights: Weights, report: Report) -> None:
    """Check that every source tensor is in the file once, within its type's error.

    Reorderings are undone here by their definition, not by the writer's code, so that a wrong one
    does not cancel.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    architecture = file.metadata["general.architecture"]
    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(arch, config.integer("num_hidden_layers"))
    stored = dict(file.tensors)
    wrong: list[str] = []
    worst, count = 0.0, 0
    for source, info in weights.items():
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None or (source == "lm_head.weight" and config.tied):
            continue
        tensor = stored.pop(name, None)
        if tensor is None or tensor.shape != info.shape:
            wrong.append(f"{name} is missing or has another shape")
            continue
        excess = _excess(source, (file, name), weights, undo_for(architecture, config, source))
        worst = max(worst, excess)
        count += 1
        if not excess <= 1.0:
            wrong.append(f"{name} is {excess:.3g} times further off than {tensor.type}")
    extra = [name for name in stored if not name.startswith("rope_")]
    wrong += [f"{name} is not in the source" for name in extra]
    detail = "; ".join(wrong[:5]) or f"{count} tensors, at most {worst:.2f} of the type's error"
    report.add("weights", file.path.name, READER, not wrong, detail)


Undo = Callable[[Rows], Rows]


def undo_for(architecture: str, config: Config, source: str) -> tuple[int, Undo] | None:
    """Return rows per group and how to bring a group back into the source's order."""
    if architecture == "llama" and source.split(".")[-2] in ("q_proj", "k_proj"):
        width = config.head_dim
        # Rotary pair i of a head is (i, i + width/2) in the source, (2i, 2i + 1) in the file.
        order = [2 * i for i in range(width // 2)] + [2 * i + 1 for i in range(width // 2)]
        return width, lambda rows: rows[order]
    if architecture.startswith("gemma") and source.endswith("norm.weight"):
        return 1, lambda rows: rows - np.float32(1)
    return None


def _excess(
    source: str, stored: tuple[GgufFile, str], weights: Weights, undo: tuple[int, Undo] | None
) -> float:
    """Return the largest error of a tensor as a multiple of its type's bound."""
    file, name = stored
    kind = file.tensors[name].type
    shape = weights[source].shape
    width = math.prod(shape[1:])
    group = undo[0] if undo else 1
    step = max(1, BLOCK_BYTES // (4 * width) // group) * group
    worst = 0.0
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        wanted = weights.read(source, start * width, stop * width).astype(np.float32)
        wanted = wanted.reshape(-1, *shape[1:])
        found = file.rows(name, start, stop)
        if undo:
            groups = found.reshape(-1, group, *shape[1:])
            found = np.concatenate([undo[1](rows) for rows in groups]).reshape(wanted.shape)
        bound = error_bound(kind, wanted)
        # One float32 rounding is allowed for arithmetic on the way (a norm's shift by one).
        scale = np.maximum(np.abs(wanted), np.float32(undo is not None and group == 1))
        allowed = bound + scale * np.float32(2.0**-22)
        error = np.abs(found - wanted)
        ratio = np.divide(error, allowed, out=np.zeros_like(error), where=error > 0)
        worst = max(worst, float(ratio.max(initial=0.0)))
        if np.isnan(error).any():
            return math.inf
    return worst
