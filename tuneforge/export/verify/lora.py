"""A GGUF adapter read back: its deltas, put into the source's order, are the adapter's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge.export.gguf.config import Config
from tuneforge.export.gguf.lora import Pair
from tuneforge.export.verify.gguf_file import READER, GgufFile
from tuneforge.export.verify.report import Report
from tuneforge.export.verify.tensors import undo_for
from tuneforge.weights import Weights

TOLERANCE = 1e-5  # of a delta's largest element: float32 products in another order


def check_lora(
    path: Path, base: Mapping[str, Any], pairs: Sequence[Pair], weights: Weights, report: Report
) -> None:
    """Check every module's delta as llama.cpp computes it: alpha / rank * B @ A."""
    with GgufFile(path) as file:
        architecture = file.metadata["general.architecture"]
        alpha = float(file.metadata["adapter.lora.alpha"])
        stored = {name: file.rows(name, 0, t.shape[0]) for name, t in file.tensors.items()}
    wrong, worst = [], 0.0
    for pair in pairs:
        down = stored.pop(f"{pair.name}.weight.lora_a")
        up = stored.pop(f"{pair.name}.weight.lora_b")
        found = alpha / down.shape[0] * (up @ down)
        undo = undo_for(architecture, Config(base), f"{pair.module}.weight")
        if undo:
            groups = found.reshape(-1, undo[0], found.shape[1])
            found = np.concatenate([undo[1](rows) for rows in groups])
        factors = (weights.read(name).astype(np.float64) for name in (pair.up, pair.down))
        up64, down64 = factors
        wanted = pair.scale * (up64 @ down64)
        error = float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))
        worst = max(worst, error)
        if not error <= TOLERANCE:
            wrong.append(f"{pair.name} is off by {error:.2g} of its largest element")
    wrong += [f"{name} is not in the source" for name in stored]
    detail = "; ".join(wrong[:5]) or f"{len(pairs)} modules, within {worst:.1g}"
    report.add("deltas", path.name, READER, not wrong, detail)
