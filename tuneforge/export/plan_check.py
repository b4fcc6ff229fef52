"""What a plan can refuse about exports: what would fail after the training, hours later."""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.export import (
    AdapterExport,
    BitsAndBytesExport,
    Export,
    GgufExport,
    OllamaExport,
)
from tuneforge_specs.spec import Spec

from tuneforge.export.gguf.kquants import check_available

QUANTIZING = ("torch", "transformers", "accelerate", "bitsandbytes")


def types_of(export: Export) -> tuple[str, ...]:
    """Return the GGUF types that an export writes."""
    if isinstance(export, GgufExport):
        return export.types
    return (export.type,) if isinstance(export, OllamaExport) else ()


def becomes_gguf(export: Export) -> bool:
    """Return whether an export writes a GGUF file: of the model, or of the adapter."""
    return bool(types_of(export)) or (isinstance(export, AdapterExport) and export.gguf)


def needs_files(spec: Spec, names: Iterable[str]) -> bool:
    """Return whether the base's small files decide if one of these exports is possible."""
    return any(becomes_gguf(spec.export[name]) for name in names)


def check_exports(spec: Spec, directory: Path, base: Path | None, names: Iterable[str]) -> None:
    """Refuse the exports of these names that this machine or the base in ``base`` cannot give.

    A base that is still to be made is a Llama. Raises EnvironmentMissing for K-quants without
    llama.cpp and for missing packages, UsageError for what cannot become GGUF or a Modelfile.
    """
    for name in names:
        export = spec.export[name]
        check_available(types_of(export))
        if isinstance(export, BitsAndBytesExport):
            check_quantizing(f"export.{name}")
        try:
            if base is not None and becomes_gguf(export):
                _check_base(base, vocabulary=not isinstance(export, AdapterExport))
            if isinstance(export, OllamaExport):
                _check_templates(spec, export, directory, base)
        except UsageError as error:
            raise UsageError(f"export.{name}: {error.message}", error.fix) from error


def check_quantizing(who: str) -> None:
    """Raise EnvironmentMissing where what quantises with bitsandbytes is not installed."""
    missing = [name for name in QUANTIZING if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentMissing(
            f"{who}: {', '.join(missing)} not installed, which quantising with bitsandbytes needs",
            "pip install 'tuneforge[train]'",
        )


def _check_templates(spec: Spec, export: OllamaExport, directory: Path, base: Path | None) -> None:
    from tuneforge.export.ollama.check import check_templates

    check_templates(spec, export.model, directory, base)


def _check_base(base: Path, *, vocabulary: bool) -> None:
    from tuneforge.export.gguf.check import check
    from tuneforge.export.gguf.vocabulary import check_tokenizer
    from tuneforge.export.model_folder import ModelFolder

    file = base / "config.json"
    if file.is_file():
        check(json.loads(file.read_text("utf-8")))
    if vocabulary and (base / "tokenizer.json").is_file():
        check_tokenizer(ModelFolder(base))
