"""Export as a Hugging Face model folder: the weights' own bytes, and what reading them needs."""

import json
import os
import shutil
from pathlib import Path

from tuneforge_specs.export import SafetensorsExport

from tuneforge.digest import file_digest
from tuneforge.export.job import Job
from tuneforge.export.model_folder import TOKENIZER_FILES, ModelFolder
from tuneforge.export.verify.report import Report

MODEL_FILES = ("config.json", "model.safetensors.index.json")
GENERATION = "generation_config.json"


def export(job: Job, _settings: SafetensorsExport) -> Report:
    """Ship the model folder and check what was shipped."""
    ship(job, job.out)
    report = Report()
    check_folder(job, job.out, report)
    return report


def ship(job: Job, out: Path) -> None:
    """Put weights, config, tokenizer and template into ``out``; weights as links where safe."""
    from tuneforge.weights import open_weights

    out.mkdir(parents=True, exist_ok=True)
    source = job.model.path
    with open_weights(source) as weights:
        shards = sorted({tensor.file for tensor in weights.values()})
    for number, shard in enumerate(shards):
        job.report.progress(number, len(shards), "files")
        _place(shard, out / shard.name, linkable=job.linkable)
    for name in (*MODEL_FILES, *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    write_generation_config(job, out)


def _place(source: Path, target: Path, *, linkable: bool) -> None:
    if linkable:
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system, or one without hard links: a copy is as good
        else:
            return
    shutil.copyfile(source, target)


def write_generation_config(job: Job, out: Path) -> None:
    """Write a generation config that stops where the model was trained to stop."""
    values = dict(job.model.generation)
    declared = values.get("eos_token_id")
    known = list(declared) if isinstance(declared, list) else [declared]
    known = [index for index in known if isinstance(index, int)]
    missing = [index for index in job.terminators if index not in known]
    if missing:
        ends = known + missing
        values["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    if values:
        text = json.dumps(values, indent=2, sort_keys=True) + "\n"
        (out / GENERATION).write_text(text, "utf-8")


def check_folder(job: Job, out: Path, report: Report) -> None:
    """Check that weights and tokenizer are the source's, and that generation will stop."""
    shipped = ModelFolder(out)
    check_weights(job.model.path, out, report)
    check_tokenizer(job, report)
    check_ends(job, shipped, report)
    check_template(job, shipped.chat_template, report)


def check_tokenizer(job: Job, report: Report) -> None:
    """Check that tokenizer and template were shipped as they are."""
    source = job.model.path
    different = [
        name
        for name in TOKENIZER_FILES
        if (source / name).is_file() and not same(source / name, job.out / name)
    ]
    detail = ", ".join(different) or "equal"
    report.add("tokenizer", "tokenizer.json", "bytes", not different, detail)


def check_ends(job: Job, shipped: ModelFolder, report: Report) -> None:
    """Check that generation with the shipped folder ends where the model was trained to end."""
    missed = [index for index in job.terminators if index not in shipped.generation_ends]
    detail = f"ids {missed} do not end generation" if missed else f"ids {list(job.terminators)}"
    stops = bool(job.terminators) and not missed
    report.add("end of turn", GENERATION, "json", stops, detail)


def check_template(job: Job, template: str, report: Report) -> None:
    """Check that the template is one that the model was trained with, where that is known."""
    if job.trained.templates:
        same = template in job.trained.templates
        detail = "the one it was trained with" if same else "not the one it was trained with"
        report.add("trained template", "chat template", "text", same, detail)


def check_weights(source: Path, out: Path, report: Report) -> None:
    """Check that every tensor is there and every weight file has the source's bytes."""
    from tuneforge.weights import open_weights

    with open_weights(source) as given, open_weights(out) as shipped:
        shards = sorted({tensor.file for tensor in given.values()})
        different = [s.name for s in shards if not same(s, out / s.name)]
        lost = sorted(set(given) ^ set(shipped))
    wrong = [*different, *lost]
    detail = ", ".join(wrong[:5]) or f"{len(given)} tensors in {len(shards)} files, equal"
    report.add("weights", "*.safetensors", "sha256", not wrong, detail)


def same(first: Path, second: Path) -> bool:
    """Return whether two files have the same bytes."""
    if not second.is_file():
        return False
    return first.samefile(second) or file_digest(first) == file_digest(second)
