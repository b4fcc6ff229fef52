"""``tuneforge export``: a model folder in another form, verified."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneforge.cli.lines import Lines
from tuneforge.cli.options import AsJson, write_json


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model or adapter folder.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New folder.")],
    form: Annotated[
        str,
        typer.Option("--format", help="gguf, ollama, safetensors, bitsandbytes or adapter."),
    ] = "gguf",
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="GGUF number format; may be repeated. For bitsandbytes nf4 or int8."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Default: the folder's name.")] = "",
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: one for each core.")] = 0,
    json: AsJson = False,
) -> None:
    """Export a model folder, verified against it; exit 4 where the result differs."""
    from tuneforge.export.standalone import export_folder

    settings = settings_of(form, types or ["q8_0"], given=types is not None)
    title = name or model.resolve().name
    workers = threads or len(os.sched_getaffinity(0))
    report = export_folder(model, output, settings, title, Lines(quiet=json), workers)
    if json:
        write_json({"folder": str(output), **report.as_json()})
        return
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    sys.stdout.write(f"{output}: {size / 1e6:,.1f} MB, {len(report.checks)} checks passed\n")


def settings_of(form: str, types: list[str], *, given: bool) -> Any:
    """Return the spec's table for these options; raise UsageError as the spec would."""
    from pydantic import TypeAdapter, ValidationError
    from tuneforge_specs.errors import UsageError
    from tuneforge_specs.export import Export

    values: dict[str, Any] = {"format": form, "model": "model"}
    if form == "gguf":
        values["types"] = types
    elif form == "ollama" and len(types) == 1:
        values["type"] = types[0]
    elif form == "bitsandbytes" and len(types) == 1:
        values |= {"quantize": types[0]} if given else {}
    elif given:
        raise UsageError(
            f"--type {' '.join(types)} does not fit --format {form}",
            "gguf takes any number of types, ollama and bitsandbytes one, the others none",
        )
    try:
        return TypeAdapter(Export).validate_python(values)
    except ValidationError as error:
        lines = "; ".join(f"{detail['input']!r}: {detail['msg']}" for detail in error.errors())
        raise UsageError(
            f"this cannot be exported: {lines}", "see tuneforge export --help"
        ) from error
