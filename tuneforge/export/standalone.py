"""Export of a model folder without a build: `tuneforge export`."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import UsageError

from tuneforge import __version__
from tuneforge.card.card import CardFacts, write_card
from tuneforge.card.provenance import Lineage
from tuneforge.digest import file_digest, value_digest
from tuneforge.export.adapter import CONFIG
from tuneforge.export.job import Job, Trained
from tuneforge.export.make import make
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.report import Report
from tuneforge.manifest import content_digest, describe_files, write_manifest
from tuneforge.step import Reporter

# What of a model folder decides what an export holds.
SOURCES = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})


def export_folder(
    folder: Path, out: Path, settings: Any, name: str, reporter: Reporter, threads: int
) -> Report:
    """Export ``folder`` into ``out``, which must not exist yet; it appears whole or not at all."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", "name another folder, or remove it")
    if not folder.is_dir():
        raise UsageError(f"no model folder {folder}", "check the path")
    beside = out.absolute().parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=beside) as temporary:
        made, run = Path(temporary, "out"), Path(temporary, "run")
        made.mkdir()
        job = Job(
            name=name,
            model=ModelFolder(folder.resolve()),
            out=made,
            trained=Trained(),
            report=reporter,
            run_job=lambda job: _run(run, job, reporter, threads),
            base=_base_of(folder),
        )
        report = make(job, settings)
        facts = CardFacts(name=name, format=settings.format, lineage=Lineage({}), report=report)
        write_card(made, facts)
        _write_manifest(made, folder.resolve(), name, settings)
        if out.exists():
            out.rmdir()
        shutil.move(made, out)
    return report


def _write_manifest(out: Path, source: Path, name: str, settings: Any) -> None:
    """Write what `tuneforge verify` and `push` hold the folder against, and what it came from."""
    given = (path for path in sorted(source.iterdir()) if path.is_file())
    external = {path.name: file_digest(path) for path in given if path.suffix in SOURCES}
    params = settings.model_dump(mode="json")
    files = describe_files(out)
    manifest = {
        "v": 1,
        "step": f"export.{name}",
        "kind": "export",
        "name": name,
        "key": value_digest([params, external]),
        "params": params,
        "inputs": {},
        "external": external,
        "files": files,
        "digest": content_digest(files),
        "libraries": {"tuneforge": __version__},
    }
    write_manifest(out, manifest)


def _base_of(folder: Path) -> str:
    file = folder / CONFIG
    if not file.is_file():
        return ""
    return str(json.loads(file.read_text("utf-8")).get("base_model_name_or_path") or "")


def _run(run: Path, job: dict[str, Any], reporter: Reporter, threads: int) -> Path:
    from tuneforge.runs import run_job

    return run_job(run, {**job, "threads": threads}, reporter).output
