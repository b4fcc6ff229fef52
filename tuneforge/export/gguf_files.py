"""Export as GGUF: one file for each type, verified against the model."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from tuneforge_specs.export import GgufExport

from tuneforge.digest import file_digest
from tuneforge.export.gguf.export import plan_gguf
from tuneforge.export.gguf.kquants import K_QUANTS, check_available, quantize_file
from tuneforge.export.gguf.writer import write_gguf
from tuneforge.export.job import Job
from tuneforge.export.safetensors import check_template
from tuneforge.export.verify.gguf import Subject, verify_gguf
from tuneforge.export.verify.report import Report
from tuneforge.weights import Weights, open_weights

READER_PACKAGES = ("torch", "transformers", "accelerate")
INSTALL = "pip install 'tuneforge[train]'"


def export(job: Job, settings: GgufExport) -> Report:
    """Write and verify ``<name>-<type>.gguf`` for every type."""
    with open_weights(job.model.path) as weights:
        files, notes = write_files(job, settings.types, weights)
        return verify_files(job, files, weights, notes)


def write_files(
    job: Job, types: tuple[str, ...], weights: Weights
) -> tuple[dict[str, Path], list[str]]:
    """Write the files; return them by type, and what llama.cpp will do otherwise.

    K-quants are made from a float file of the weights' own precision, which is removed after.
    """
    check_available(types)
    wanted = tuple(dict.fromkeys(types))
    direct = [kind for kind in wanted if kind not in K_QUANTS]
    through = [kind for kind in wanted if kind in K_QUANTS]
    origin = float_type(weights)
    if through and origin not in direct:
        direct.append(origin)
    plans = [
        plan_gguf(job.model.path, weights, kind, job.name, job.trained.terminators)
        for kind in direct
    ]
    total, written = sum(plan.size for plan in plans), 0

    def progress(count: int) -> None:
        nonlocal written
        written += count
        job.report.progress(written, total, "bytes")

    files, notes = {}, []
    for plan in plans:
        path = job.out / f"{job.name}-{plan.type}.gguf"
        job.report.log(f"writing {path.name}")
        write_gguf(path, plan.content, weights, progress)
        files[plan.type] = path
        notes += [note for note in plan.notes if note not in notes]
    for kind in through:
        files[kind] = job.out / f"{job.name}-{kind}.gguf"
        job.report.log(f"writing {files[kind].name} through llama.cpp")
        quantize_file(files[origin], files[kind], kind)
    for kind in set(direct) - set(wanted):
        files.pop(kind).unlink()
    return files, notes


def float_type(weights: Weights) -> str:
    """Return the GGUF type that holds all weights exactly."""
    return "bf16" if {tensor.dtype for tensor in weights.values()} == {"BF16"} else "f32"


def verify_files(job: Job, files: dict[str, Path], weights: Weights, notes: list[str]) -> Report:
    """Verify written files; the logits by a worker where torch and transformers are installed."""
    missing = [name for name in READER_PACKAGES if importlib.util.find_spec(name) is None]
    dtype = probe_dtype(weights)
    why = f"{', '.join(missing)} not installed ({INSTALL})" if missing else ""
    if not why and not dtype:
        why = "the model does not fit into this machine's memory"

    def probe(questions: dict[str, Any]) -> dict[str, Any]:
        # The digests make the job another one when a file of the same name has other content.
        digests = {path.name: file_digest(path) for path in files.values()}
        output = job.run_job({"kind": "probe", "digests": digests, **questions})
        found: dict[str, Any] = json.loads((output / "probe.json").read_text("utf-8"))
        return found

    job.report.log("verifying against the model")
    subject = Subject(files, job.model, weights, job.terminators, job.trained.material)
    report = verify_gguf(subject, why or probe, dtype or "float32")
    report.notes += notes
    check_template(job, job.model.chat_template, report)
    return report


def probe_dtype(weights: Weights) -> str:
    """Return in what the probe can hold the model: float32, bfloat16, or "" for neither.

    A GGUF file is read beside its dequantised tensors, so a model is there twice for a moment.
    """
    import psutil

    elements = sum(tensor.size for tensor in weights.values())
    available = int(psutil.virtual_memory().available)
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        if elements * (width + 4) * 1.2 < available:
            return dtype
    return ""
