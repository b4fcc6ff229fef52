"""Exports: CPU seconds, wall and peak memory by format, beside dd and llama.cpp's converter.

    python benchmarks/export.py --size 0.5B --rounds 1 --llama-cpp /path/to/llama.cpp

A model is made on the spot: random bfloat16 Qwen2-shaped weights whose embedding is tied, and a
byte-level BPE tokenizer with as many tokens as the embedding has rows. Each command is its own
process. An export is written and verified: weights, tokenizer and metadata are read back. Only the
logits are left out: their reader is transformers, in a process of its own, which holds the whole
model (``--logits`` adds it). The peers write and check nothing: a copy with dd, transformers'
``save_pretrained``, llama.cpp's converter, which is told the pre-tokenizer since it knows
tokenizers by the hash of their output only.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from merge import SIZES, Cost, make_model, measure

FORMATS = ("safetensors", "f16", "q8_0", "q4_0")
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OURS = """
import sys
from tuneforge.cli import main
from tuneforge.export import gguf_files
if sys.argv[1] == "no-logits":
    gguf_files.READER_PACKAGES = ("left out by the benchmark",)
sys.exit(main(["export", *sys.argv[2:]]))
"""
SAVE = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoModelForCausalLM.from_pretrained("base", dtype=torch.bfloat16).save_pretrained("out-theirs")
AutoTokenizer.from_pretrained("base").save_pretrained("out-theirs")
"""
CONVERT = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
import convert_hf_to_gguf
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv[1:2] = []
convert_hf_to_gguf.main()
"""


def make_tokenizer(folder: Path, rows: int) -> None:
    """Write a tokenizer of ``rows`` tokens: the bytes, then pairs of what is there already."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = sorted(ByteLevel.alphabet())
    merges: list[list[str]] = []
    known = set(tokens)
    wanted = rows - len(SPECIAL)
    for left in list(tokens) + [a + b for a in tokens for b in tokens]:
        for right in sorted(ByteLevel.alphabet()):
            if len(tokens) < wanted and left in known and left + right not in known:
                known.add(left + right)
                tokens.append(left + right)
                merges.append([left, right])
    added = [
        {"id": len(tokens) + n, "content": text, "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for n, text in enumerate(SPECIAL)
    ]  # fmt: skip
    split = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "post_processor": None, "decoder": byte_level | {"use_regex": False},
        "pre_tokenizer": {
            "type": "Sequence", "pretokenizers": [split, byte_level | {"use_regex": False}],
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": {token: n for n, token in enumerate(tokens)},
            "merges": merges,
        },
    }  # fmt: skip
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "chat_template.jinja").write_text(CHATML, "utf-8")


def our_command(form: str, logits: bool) -> list[str]:
    kind = ["safetensors"] if form == "safetensors" else ["gguf", "--type", form]
    read = "logits" if logits else "no-logits"
    return [sys.executable, "-c", OURS, read, "base", "-o", "out-ours", "--name", "bench",
            "--format", *kind]  # fmt: skip


def their_command(form: str, llama_cpp: Path | None) -> list[str]:
    if form == "safetensors":
        return [sys.executable, "-c", SAVE]
    if llama_cpp is None or form == "q4_0":  # its converter has no 4-bit type
        return []
    return [sys.executable, "-c", CONVERT, str(llama_cpp), "base", "--outtype", form,
            "--outfile", "out-theirs/bench.gguf"]  # fmt: skip


def dd_command(folder: Path, size: int) -> list[str]:
    """Read the model once and write as many bytes as the export has."""
    read = f"dd if={folder}/base/model.safetensors of=/dev/null bs=4M"
    write = f"head -c {size} /dev/zero | dd of=out-dd/copy bs=4M iflag=fullblock"
    return ["sh", "-c", f"{read}; {write}"]


def equal_to_theirs(folder: Path) -> str:
    """Compare two GGUF files tensor by tensor, byte by byte."""
    from gguf import GGUFReader

    ours = {t.name: t for t in GGUFReader(next((folder / "out-ours").glob("*.gguf"))).tensors}
    theirs = {t.name: t for t in GGUFReader(next((folder / "out-theirs").glob("*.gguf"))).tensors}
    different = [
        n for n in theirs if n in ours and theirs[n].data.tobytes() != ours[n].data.tobytes()
    ]
    if set(ours) == set(theirs) and not different:
        return "every byte of every tensor equal to llama.cpp's"
    return f"{len(different)} tensors differ, the first {different[:1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="0.1B", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--llama-cpp", type=Path, default=None, help="a llama.cpp source folder")
    parser.add_argument("--logits", action="store_true", help="verify the logits, too")
    parser.add_argument("--folder", type=Path, default=None, help="where to put the models")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here too")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="export-benchmark-", dir=chosen.folder)).absolute()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    figures = {}
    try:
        make_model(folder / "base", chosen.size, np.random.default_rng(0))
        make_tokenizer(folder / "base", SIZES[chosen.size][-1])
        for form in chosen.formats.split(","):
            commands = {
                "ours": our_command(form, chosen.logits),
                "theirs": their_command(form, chosen.llama_cpp),
            }
            costs: dict[str, list[Cost]] = {}
            for _ in range(chosen.rounds):
                for name, command in commands.items():
                    shutil.rmtree(folder / f"out-{name}", ignore_errors=True)
                    if command:
                        (folder / "out-theirs").mkdir(exist_ok=True)
                        costs.setdefault(name, []).append(measure(command, folder, environment))
                (folder / "out-dd").mkdir(exist_ok=True)
                files = (folder / "out-ours").iterdir()
                size = sum(f.stat().st_size for f in files if f.suffix in (".gguf", ".safetensors"))
                copied = measure(dd_command(folder, size), folder, environment)
                costs.setdefault("dd", []).append(copied)
            note = ""
            if form != "safetensors" and "theirs" in costs:
                note = equal_to_theirs(folder)
            figures[form] = report(chosen.size, form, size, costs, note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"size": chosen.size, "formats": figures}, indent=1))


def report(
    model: str, form: str, size: int, costs: dict[str, list[Cost]], note: str
) -> dict[str, dict[str, float]]:
    found = {
        name: {
            "cpu": statistics.median(run.cpu for run in runs),
            "wall": statistics.median(run.wall for run in runs),
            "memory": max(run.memory for run in runs),
        }
        for name, runs in costs.items()
    }
    cells = [
        f"{name} {cost['cpu']:.1f} CPU s {cost['wall']:.1f} s {cost['memory'] / 2**20:.0f} MiB"
        for name, cost in found.items()
    ]
    sys.stdout.write(f"{model} {form:<11} {size / 1e6:6.0f} MB | {' | '.join(cells)} {note}\n")
    sys.stdout.flush()
    return found


if __name__ == "__main__":
    main()
