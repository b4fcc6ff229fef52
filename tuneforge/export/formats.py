"""Registry of export formats: the spec's ``format`` to the function that makes it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from tuneforge.export.job import Job
from tuneforge.export.verify.report import Report

FORMATS: Final = {
    "safetensors": "tuneforge.export.safetensors:export",
    "gguf": "tuneforge.export.gguf_files:export",
    "bitsandbytes": "tuneforge.export.bitsandbytes:export",
    "adapter": "tuneforge.export.adapter:export",
    "ollama": "tuneforge.export.ollama.export:export",
}

Make = Callable[[Job, Any], Report]


def maker_of(name: str) -> Make:
    """Return the function of a format: it writes ``job.out`` and returns what it verified."""
    module, _, attribute = FORMATS[name].partition(":")
    make: Make = getattr(import_module(module), attribute)
    return make
