"""Training methods: one module each, with what the trainer loop needs of it.

A module has ``load(path) -> datasets.Dataset`` (one row per example, all else left out),
``lengths(rows)`` (tokens of each row's longest sequence, to find the worst batch) and
``trainer(setup) -> transformers.Trainer``. What renderings it takes is in `preflight.MODES`.
Importing a module loads torch.
"""

import importlib
from types import ModuleType
from typing import Final

METHODS: Final = {
    "sft": "tuneforge.worker.methods.sft",
    "dpo": "tuneforge.worker.methods.dpo",
}


def method_of(name: str) -> ModuleType:
    """Return the module of a method."""
    return importlib.import_module(METHODS[name])
