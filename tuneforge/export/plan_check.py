"""What a plan can refuse about exports: models that their format cannot hold."""

import json
from collections.abc import Iterable
from pathlib import Path

from tuneforge_specs.base import ModelBase
from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import Export, GgufExport, OllamaExport
from tuneforge_specs.spec import Spec

from tuneforge.export.gguf.kquants import check_available

GGUF_FORMATS = frozenset({"gguf", "ollama"})


def types_of(export: Export) -> tuple[str, ...]:
    """Return the GGUF types that an export writes."""
    if isinstance(export, GgufExport):
        return export.types
    return (export.type,) if isinstance(export, OllamaExport) else ()


def check_exports(spec: Spec, directory: Path, names: Iterable[str]) -> None:
    """Refuse the exports of these names whose base, a local folder, cannot become GGUF.

    A base from the hub or made by the build is checked by the export step. Raises UsageError, or
    EnvironmentMissing for K-quants without llama.cpp.
    """
    wanted = [name for name in names if spec.export[name].format in GGUF_FORMATS]
    for name in wanted:
        check_available(types_of(spec.export[name]))
    if not wanted or not isinstance(spec.base, ModelBase):
        return
    file = directory / Path(spec.base.model).expanduser() / "config.json"
    if not file.is_file():
        return
    from tuneforge.export.gguf.check import check

    try:
        check(json.loads(file.read_text("utf-8")))
    except UsageError as error:
        raise UsageError(f"export.{wanted[0]}: {error.message}", error.fix) from error
