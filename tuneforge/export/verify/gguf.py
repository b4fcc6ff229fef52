"""Verifying GGUF files: what can be checked without torch, then an independent reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge.export.gguf.architectures import architecture_of
from tuneforge.export.gguf.config import Config
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.gguf_file import GgufFile
from tuneforge.export.verify.probes import texts_for
from tuneforge.export.verify.reader import judge, judge_ids
from tuneforge.export.verify.report import Report
from tuneforge.export.verify.tensors import check_tensors
from tuneforge.export.verify.vocabulary import (
    Metadata,
    check_ids,
    check_vocabulary,
    excused,
)
from tuneforge.weights import Weights

MAX_SEQUENCE = 96  # tokens of one probe sequence: enough to leave every rotary pair turned
MAX_NEW = 96


@dataclass(frozen=True)
class Material:
    """What the model is asked besides the probe texts: rows of its own evaluation data."""

    sequences: tuple[tuple[int, ...], ...] = ()
    prompts: tuple[tuple[int, ...], ...] = ()


Probe = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """What is verified: GGUF files by type, against the model they were written from."""

    files: Mapping[str, Path]
    folder: ModelFolder
    weights: Weights
    terminators: Sequence[int]
    material: Material = Material()


def verify_gguf(subject: Subject, probe: Probe | str, dtype: str = "float32") -> Report:
    """Compare GGUF files with their source.

    ``probe`` runs the worker and returns its probe.json; a text instead says why there is none.
    """
    report = Report()
    texts = _probe_texts(subject.folder, report)
    metadata: dict[str, Metadata] = {}
    for path in subject.files.values():
        with GgufFile(path) as file:
            keys = metadata[path.name] = file.metadata
            check_tensors(file, Config(subject.folder.config), subject.weights, report)
        check_vocabulary(path.name, keys, subject.folder, subject.terminators, report)
        check_ids(path.name, keys, texts, report)
    if isinstance(probe, str):
        report.unverified.append(f"logits and greedy generation: {probe}")
        return report
    found = probe(_job(subject, texts, dtype))
    kinds = {path.name: kind for kind, path in subject.files.items()}
    judge(kinds, found, dtype, subject.terminators, report)
    for name, keys in metadata.items():
        judge_ids(name, keys, texts, found["files"][name], report)
    return report


def _probe_texts(folder: ModelFolder, report: Report) -> dict[str, list[int]]:
    """Return the texts with the source's ids, without those llama.cpp is known to cut otherwise."""
    from tokenizers import Tokenizer

    source = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    texts = texts_for(folder)
    reasons = excused(texts, folder, architecture_of(folder.config).name)
    report.notes += sorted(f"not compared, {reason}: {text!r}" for text, reason in reasons.items())
    return {
        text: source.encode(text, add_special_tokens=False).ids
        for text in texts
        if text not in reasons
    }


def _job(subject: Subject, texts: Mapping[str, list[int]], dtype: str) -> dict[str, Any]:
    sequences = [list(row[:MAX_SEQUENCE]) for row in subject.material.sequences]
    prompts = [list(prompt) for prompt in subject.material.prompts]
    first = next(iter(texts.values()))
    questions = {
        "sequences": [ids[:MAX_SEQUENCE] for ids in texts.values() if len(ids) > 1] + sequences,
        "texts": list(texts),
        "prompts": prompts or [first],
        "terminators": list(subject.terminators),
        "max_new": MAX_NEW,
        "dtype": dtype,
    }
    return {
        "source": str(subject.folder.path),
        "files": [str(path) for path in subject.files.values()],
        "questions": questions,
    }
