"""Whether a model can become GGUF, known from its config.json before anything runs."""

from collections.abc import Mapping
from typing import Any

from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.architectures import architecture_of
from tuneforge.export.gguf.config import Config


def check(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse by name a model that cannot become GGUF; return what llama.cpp does otherwise.

    Needs config.json only, so a plan can call it before anything runs. Raises UsageError.
    """
    architecture = architecture_of(config)
    read = Config(config)
    name = config["architectures"][0]
    if config.get("quantization_config"):
        raise UsageError(
            f"{name}: the weights are quantised already ({config['quantization_config']})",
            "merge into the 16-bit base first, then export",
        )
    if read.rope_type not in architecture.rope_types:
        raise UsageError(
            f"{name}: llama.cpp does not compute the rotary scaling {read.rope_type!r}",
            f"it computes {', '.join(architecture.rope_types)} for {architecture.name}",
        )
    return architecture.check(read)
