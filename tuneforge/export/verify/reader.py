"""Judging what the independent reader saw: logits, generations and token ids."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.export.verify.probes import decomposed
from tuneforge.export.verify.report import Report
from tuneforge.export.verify.thresholds import within
from tuneforge.export.verify.vocabulary import Metadata, describe

READER = "transformers"
LLAMA_CPP = "llama.cpp"
LLAMA_CPP_ERROR = 0.03  # its f16 cache, and activations rounded to 8 bits beside quantised weights
# Where transformers' GGUF tokenizer cuts as llama.cpp does: elsewhere it ignores
# `tokenizer.ggml.pre` (its Llama always splits as GPT-2), so that differences are its own.
FAITHFUL = frozenset({("llama", "gpt-2"), ("qwen2", "qwen2"), ("qwen3", "qwen2")})


def judge(
    kinds: Mapping[str, str],
    found: Mapping[str, Any],
    dtype: str,
    terminators: Sequence[int],
    report: Report,
) -> None:
    """Judge logits and generations; ``kinds`` maps file names to types, ``found`` is probe.json."""
    for file, kind in kinds.items():
        seen = found["files"][file]
        report.measured[file] = seen["logits"]
        report.add("logits", file, READER, *within(kind, seen["logits"], dtype))
        report.add(
            "stops", file, READER, *_stops(found["generated"], seen["generated"], terminators)
        )
        if "llama_cpp" in seen:
            _judge_llama_cpp(file, kind, seen["llama_cpp"], dtype, report)


def _judge_llama_cpp(
    file: str, kind: str, seen: Mapping[str, Any], dtype: str, report: Report
) -> None:
    """Judge what llama.cpp itself computed; it stores keys and values as f16 unless told not to."""
    report.measured[f"{file} (llama.cpp)"] = seen["logits"]
    report.add("logits", file, LLAMA_CPP, *within(kind, seen["logits"], dtype, LLAMA_CPP_ERROR))
    missed = seen["stops"].count(False)
    detail = f"{missed} of {len(seen['stops'])} terminators do not end generation"
    report.add("end of turn", file, LLAMA_CPP, not missed, detail)


def _stops(
    source: Sequence[list[int]], file: Sequence[list[int]], terminators: Sequence[int]
) -> tuple[bool, str]:
    """Return whether generation ends at a terminator wherever the source's does."""
    ends = set(terminators)
    stopping = [n for n, ids in enumerate(source) if ids and ids[-1] in ends]
    if not stopping:
        return True, f"the source does not stop in {len(source)} greedy generations either"
    missed = [n for n in stopping if not file[n] or file[n][-1] not in ends]
    same = sum(a == b for a, b in zip(source, file, strict=True))
    detail = f"{len(stopping) - len(missed)} of {len(stopping)} stop, {same} of {len(source)} equal"
    # A coarse quantisation may ramble once; a wrong terminator never stops.
    return len(missed) < len(stopping) or not stopping, detail


def judge_ids(
    file: str,
    metadata: Metadata,
    texts: Mapping[str, list[int]],
    seen: Mapping[str, Any],
    report: Report,
) -> None:
    """Judge token ids: llama.cpp's where installed, transformers' where it follows the file."""
    found, llama_cpp = seen["token_ids"], seen.get("llama_cpp", {}).get("token_ids")
    pair = (metadata["general.architecture"], metadata["tokenizer.ggml.pre"])
    if llama_cpp is not None:
        wrong = [text for (text, a), b in zip(texts.items(), llama_cpp, strict=True) if a != b]
        report.add("token ids", file, LLAMA_CPP, not wrong, describe(wrong, len(texts)))
    if isinstance(found, str):
        reason = f"token ids by transformers: its GGUF tokenizer cannot read this model's ({found})"
        if reason not in report.unverified:
            report.unverified.append(reason)
        return
    # Its Qwen tokenizer normalises to NFC even where the source does not.
    normalises = pair[0].startswith("qwen")
    different = [
        text
        for (text, a), b in zip(texts.items(), found, strict=True)
        if a != b and not (normalises and decomposed(text))
    ]
    if pair in FAITHFUL:
        report.add("token ids", file, READER, not different, describe(different, len(texts)))
    elif different:
        note = (
            f"transformers' GGUF tokenizer does not follow {'/'.join(pair)} files:"
            f" {describe(different, len(texts))}; it reads them otherwise than llama.cpp"
        )
        report.notes += [note] if note not in report.notes else []
    else:
        report.add("token ids", file, READER, True, describe(different, len(texts)))
