"""Job "probe": how an independent reader sees exported files, beside their source.

Loads torch and transformers. The source is read from its safetensors folder, each GGUF file by
transformers' own GGUF reader; neither goes through the code that wrote the file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.worker import gguf_model, llama_cpp_reader

if TYPE_CHECKING:
    from tuneforge.worker.run import WorkerRun

# Logits of the source are held for all files: at most this many float32 values (1 GiB).
MAX_LOGITS = 1 << 28


@dataclass(frozen=True)
class Questions:
    """What is asked of the source and of every file.

    ``sequences`` are token ids whose logits are compared, ``texts`` are tokenized, and from each
    of ``prompts`` at most ``max_new`` tokens are generated greedily, until one of ``terminators``.
    """

    sequences: list[list[int]]
    texts: list[str]
    prompts: list[list[int]]
    terminators: list[int]
    max_new: int
    dtype: str = "float32"


def probe(job: dict[str, Any], run: "WorkerRun") -> None:
    """Measure every file of the job and write probe.json."""
    import torch

    torch.set_num_threads(int(job["threads"]))
    files = [Path(file) for file in job["files"]]
    found = measure(Path(job["source"]), files, Questions(**job["questions"]), run.phase)
    run.output.mkdir(parents=True, exist_ok=True)
    (run.output / "probe.json").write_text(json.dumps(found), "utf-8")
    run.summary = {"files": len(files)}


def measure(
    source: Path, files: list[Path], questions: Questions, phase: Any = lambda _name: None
) -> dict[str, Any]:
    """Return what the source generates, and for each file name its ids, logits and generations."""
    import torch

    dtype = getattr(torch, questions.dtype)
    phase("source")
    model = _load_source(source, dtype)
    sequences = _bounded(questions.sequences, model.config.get_text_config().vocab_size)
    expected = [logits_of(model, ids) for ids in sequences]
    result: dict[str, Any] = {"generated": _generate(model, questions), "files": {}}
    del model
    for file in files:
        phase(file.name)
        model = gguf_model.load(file, dtype)
        comparison = Comparison()
        for ids, logits in zip(sequences, expected, strict=True):
            comparison.add(logits, logits_of(model, ids))
        result["files"][file.name] = {
            "logits": comparison.summary(),
            "generated": _generate(model, questions),
            "token_ids": _token_ids(file, questions.texts),
        }
        del model
        if llama_cpp_reader.available():
            phase(f"{file.name}, llama.cpp")
            seen = _by_llama_cpp(file, sequences, expected, questions)
            result["files"][file.name]["llama_cpp"] = seen
    return result


def _by_llama_cpp(
    file: Path, sequences: list[list[int]], expected: list[Any], questions: Questions
) -> dict[str, Any]:
    """Return what llama.cpp computes for the same questions."""
    import torch

    longest = max(len(ids) for ids in sequences)
    reader = llama_cpp_reader.LlamaCpp(file, longest, torch.get_num_threads())
    comparison = Comparison()
    for ids, logits in zip(sequences, expected, strict=True):
        comparison.add(logits, reader.logits(ids))
    seen = {
        "logits": comparison.summary(),
        "token_ids": [reader.token_ids(text) for text in questions.texts],
        "stops": [reader.stops(index) for index in questions.terminators],
    }
    reader.close()
    return seen


def _load_source(folder: Path, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def _bounded(sequences: list[list[int]], vocabulary: int) -> list[list[int]]:
    kept: list[list[int]] = []
    left = MAX_LOGITS // vocabulary
    for ids in sequences:
        if left <= 0:
            break
        kept.append(ids[:left])
        left -= len(ids)
    return kept


def logits_of(model: Any, ids: list[int]) -> Any:
    """Return logits (positions, vocabulary) as float32."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def _generate(model: Any, questions: Questions) -> list[list[int]]:
    import torch

    answers = []
    for prompt in questions.prompts:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=questions.max_new,
                eos_token_id=questions.terminators,
                pad_token_id=questions.terminators[0],
            )
        answers.append(output[0, len(prompt) :].tolist())
    return answers


def _token_ids(file: Path, texts: list[str]) -> list[list[int]] | str:
    """Return ids by transformers' GGUF tokenizer, or why it cannot read this file's."""
    try:
        from transformers.integrations.ggml import convert_gguf_tokenizer
        from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

        read = load_gguf_checkpoint(str(file))
        keys = read["tokenizer"]
        # It asks for these even of models that have none; which they are changes no id.
        for name in ("bos_token_id", "pad_token_id"):
            keys.setdefault(name, keys.get("eos_token_id"))
        tokenizer, _ = convert_gguf_tokenizer(read["config"]["model_type"], keys)
        return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    except Exception as error:  # noqa: BLE001 - whatever stops the reader (bare Exceptions of its
        # Rust part included) is a finding about the reader, reported as such
        return f"{type(error).__name__}: {error}"


@dataclass
class Sums:
    """Running sums over positions."""

    positions: int = 0
    same_top: int = 0
    clear: int = 0
    clear_same: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    largest: float = 0.0
    spread: float = 0.0
    divergence: float = 0.0


class Comparison:
    """Logits of a file against the source's, position by position."""

    def __init__(self) -> None:
        self._sums = Sums()

    def add(self, expected: Any, found: Any) -> None:
        """Add the positions of one sequence, each (positions, vocabulary)."""
        sums = self._sums
        difference = (found - expected).abs()
        # An offset common to all logits of a position changes no probability, so the spread is
        # measured around the position's mean.
        spread = expected.std(dim=-1).clamp_min(1e-6)
        top = expected.topk(2, dim=-1)
        same = found.argmax(dim=-1) == top.indices[:, 0]
        # Where the two best differ by less than a tenth of the spread, either is a fair answer.
        clear = (top.values[:, 0] - top.values[:, 1]) > 0.1 * spread
        logp, logq = expected.log_softmax(-1), found.log_softmax(-1)
        sums.positions += expected.shape[0]
        sums.same_top += int(same.sum())
        sums.clear += int(clear.sum())
        sums.clear_same += int((same & clear).sum())
        sums.absolute += float(difference.mean(dim=-1).sum())
        sums.squared += float(((found - expected).square().mean(-1).sqrt() / spread).sum())
        sums.largest = max(sums.largest, float(difference.max()))
        sums.spread += float(spread.sum())
        sums.divergence += float((logp.exp() * (logp - logq)).sum())

    def summary(self) -> dict[str, float]:
        """Return means over positions; ``relative_error`` is RMS error over the logits' spread."""
        sums = asdict(self._sums)
        n = max(1, self._sums.positions)
        return {
            "positions": sums["positions"],
            "top1": sums["same_top"] / n,
            "clear_positions": sums["clear"],
            "clear_top1": sums["clear_same"] / max(1, sums["clear"]),
            "mean_error": sums["absolute"] / n,
            "max_error": sums["largest"],
            "relative_error": sums["squared"] / n,
            "kl_divergence": sums["divergence"] / n,
        }
