"""Export as a folder quantised with bitsandbytes, which transformers and vLLM load as it is."""

import json
import shutil
from pathlib import Path

from tuneforge_specs.export import BitsAndBytesExport

from tuneforge.export.job import Job
from tuneforge.export.model_folder import TOKENIZER_FILES, ModelFolder
from tuneforge.export.plan_check import check_quantizing
from tuneforge.export.safetensors import (
    check_ends,
    check_template,
    check_tokenizer,
    write_generation_config,
)
from tuneforge.export.verify.bitsandbytes import check_quantised
from tuneforge.export.verify.gguf import MAX_SEQUENCE
from tuneforge.export.verify.probes import texts_for
from tuneforge.export.verify.report import Report
from tuneforge.export.verify.thresholds import within
from tuneforge.weights import open_weights

WORK = "tuneforge.worker.bitsandbytes_folder:quantize"


def export(job: Job, settings: BitsAndBytesExport) -> Report:
    """Quantise in a worker process, ship the folder with its tokenizer, judge its logits."""
    check_quantizing("this export")
    questions = {
        "kind": WORK,
        "source": str(job.model.path),
        "quantize": settings.quantize,
        "sequences": _sequences(job),
    }
    output = job.run_job(questions)
    shutil.copytree(output / "model", job.out, dirs_exist_ok=True)
    for name in TOKENIZER_FILES:
        if (job.model.path / name).is_file():
            shutil.copyfile(job.model.path / name, job.out / name)
    write_generation_config(job, job.out)
    return _judge(job, settings.quantize, output)


def _sequences(job: Job) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.model.path / "tokenizer.json"))
    encoded = (
        tokenizer.encode(text, add_special_tokens=False).ids for text in texts_for(job.model)
    )
    held_out = [list(row[:MAX_SEQUENCE]) for row in job.trained.material.sequences]
    return [ids[:MAX_SEQUENCE] for ids in encoded if len(ids) > 1] + held_out


def _judge(job: Job, kind: str, output: Path) -> Report:
    report = Report()
    measured = json.loads((output / "measured.json").read_text("utf-8"))
    report.measured[kind] = measured
    report.add("logits", "*.safetensors", "transformers", *within(kind, measured, "float32"))
    shipped = ModelFolder(job.out)
    declared = shipped.config.get("quantization_config", {}).get("quant_method")
    detail = f"quantization_config says {declared}"
    report.add("config", "config.json", "json", declared == "bitsandbytes", detail)
    with open_weights(job.model.path) as source, open_weights(job.out) as weights:
        tied = bool(job.model.config.get("tie_word_embeddings", False))
        check_quantised(source, weights, tied=tied, report=report)
    check_tokenizer(job, report)
    check_ends(job, shipped, report)
    check_template(job, shipped.chat_template, report)
    return report
