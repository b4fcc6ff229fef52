"""Registry of the architectures that can become GGUF."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tuneforge_specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuneforge.export.gguf.architectures.architecture import Architecture

ARCHITECTURES = {
    "LlamaForCausalLM": "tuneforge.export.gguf.architectures.llama:ARCHITECTURE",
    "MistralForCausalLM": "tuneforge.export.gguf.architectures.llama:ARCHITECTURE",
    "Qwen2ForCausalLM": "tuneforge.export.gguf.architectures.qwen2:ARCHITECTURE",
    "Qwen3ForCausalLM": "tuneforge.export.gguf.architectures.qwen3:ARCHITECTURE",
    "Phi3ForCausalLM": "tuneforge.export.gguf.architectures.phi3:ARCHITECTURE",
    "Gemma2ForCausalLM": "tuneforge.export.gguf.architectures.gemma2:ARCHITECTURE",
    "Gemma3ForCausalLM": "tuneforge.export.gguf.architectures.gemma3:ARCHITECTURE",
}


def architecture_of(config: "Mapping[str, Any]") -> "Architecture":
    """Return the architecture of a config, or refuse it by name."""
    names = config.get("architectures") or []
    name = names[0] if names else f"model type {config.get('model_type', 'unknown')}"
    if name not in ARCHITECTURES:
        raise UsageError(
            f"GGUF export does not support the architecture {name}",
            f'supported: {", ".join(ARCHITECTURES)}; or use format = "safetensors"',
        )
    module, attribute = ARCHITECTURES[name].split(":")
    found: Architecture = getattr(import_module(module), attribute)
    return found
