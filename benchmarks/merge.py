"""Merges against mergekit and PEFT: CPU seconds, wall, peak memory, interleaved.

    python benchmarks/merge.py --size 0.5B --mergekit VENV --folder DIR --json figures.json

Models are made on the spot: random bfloat16 Qwen2-shaped weights (a base, two tuned copies) and a
rank-16 LoRA on every linear layer. With ``--folder`` they are kept there and used again. mergekit
runs from its own virtual environment: one is given, or ``--mergekit new`` makes one beside the
models. Each command is its own process and its children; rounds are interleaved, after a sync, and
the median counts. A copy of the same bytes with dd is the yardstick. ``--json`` is written after
each method; methods that are in it for this size are not measured again, so a benchmark that was
stopped goes on. What misses a limit is named, and the exit code is 1.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

# hidden, layers, heads, kv heads, intermediate, vocabulary
SIZES = {
    "0.02B": (256, 4, 4, 2, 768, 16_000),
    "0.1B": (512, 8, 8, 2, 2048, 64_000),
    "0.5B": (896, 24, 14, 2, 4864, 151_936),
    "1.2B": (2048, 16, 32, 8, 8192, 128_256),
}
METHODS = {
    "linear": ({}, {"weight": 0.5}),
    "slerp": ({"t": 0.4}, {}),
    "ties": ({}, {"weight": 0.5, "density": 0.5}),
    "dare_ties": ({}, {"weight": 0.5, "density": 0.5}),
}


# At least so many times less CPU than mergekit; LoRA: so many times faster than PEFT.
TIMES = {"linear": 5.0, "slerp": 10.0, "ties": 5.0, "dare_ties": 5.0, "lora": 2.5}
ONE_PASS = {"lora", "linear"}
MOST_MEMORY, MOST_WALL = 300 << 20, 1.5


@dataclass
class Cost:
    cpu: float
    wall: float
    memory: int


def shapes(size: str) -> dict[str, tuple[int, ...]]:
    hidden, layers, heads, kv, inner, vocabulary = SIZES[size]
    head = hidden // heads
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        stem = f"model.layers.{layer}"
        found |= {
            f"{stem}.input_layernorm.weight": (hidden,),
            f"{stem}.mlp.down_proj.weight": (hidden, inner),
            f"{stem}.mlp.gate_proj.weight": (inner, hidden),
            f"{stem}.mlp.up_proj.weight": (inner, hidden),
            f"{stem}.post_attention_layernorm.weight": (hidden,),
            f"{stem}.self_attn.k_proj.bias": (kv * head,),
            f"{stem}.self_attn.k_proj.weight": (kv * head, hidden),
            f"{stem}.self_attn.o_proj.weight": (hidden, hidden),
            f"{stem}.self_attn.q_proj.bias": (hidden,),
            f"{stem}.self_attn.q_proj.weight": (hidden, hidden),
            f"{stem}.self_attn.v_proj.bias": (kv * head,),
            f"{stem}.self_attn.v_proj.weight": (kv * head, hidden),
        }
    return found | {"model.norm.weight": (hidden,)}


def make_models(folder: Path, size: str) -> None:
    generator = np.random.default_rng(0)
    base = folder / "base"
    make_model(base, size, generator)
    for name in ("one", "two"):
        make_model(folder / name, size, generator, tuned_from=base)
    make_adapter(folder / "adapter", shapes(size))


def make_model(
    folder: Path, size: str, generator: np.random.Generator, tuned_from: Path | None = None
) -> None:
    """Write random weights and their config; near those of another model where one is given."""
    from tuneforge.weights import Entry, ShardWriter, open_weights

    hidden, layers, heads, kv, inner, vocabulary = SIZES[size]
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv,
        "intermediate_size": inner, "vocab_size": vocabulary, "tie_word_embeddings": True,
        "dtype": "bfloat16", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    entries = [Entry(name, "BF16", shape) for name, shape in shapes(size).items()]
    origin = open_weights(tuned_from) if tuned_from else None
    scale = np.float32(0.001 if tuned_from else 0.02)
    with ShardWriter(folder, entries, 5 * 10**9) as writer:
        for entry in entries:
            count = int(np.prod(entry.shape))
            for start in range(0, count, 1 << 22):
                stop = min(count, start + (1 << 22))
                values = generator.standard_normal(stop - start, dtype=np.float32) * scale
                if origin is not None:
                    values += origin.read(entry.name, start, stop).astype(np.float32)
                writer.write(entry.name, start, values.astype(ml_dtypes.bfloat16))


def make_adapter(folder: Path, found: dict[str, tuple[int, ...]]) -> None:
    from safetensors.numpy import save_file

    generator = np.random.default_rng(1)
    rank, tensors, targets = 16, {}, set()
    for name, shape in found.items():
        if not name.endswith("_proj.weight"):
            continue
        stem = "base_model.model." + name.removesuffix(".weight")
        targets.add(stem.rsplit(".", 1)[-1])
        tensors[f"{stem}.lora_A.weight"] = generator.standard_normal(
            (rank, shape[1]), dtype=np.float32
        ) * np.float32(0.02)
        tensors[f"{stem}.lora_B.weight"] = generator.standard_normal(
            (shape[0], rank), dtype=np.float32
        ) * np.float32(0.02)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 32,
        "target_modules": sorted(targets), "lora_dropout": 0.0, "bias": "none",
        "base_model_name_or_path": "base", "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


# A process inherits the peak memory of the one it was forked from until it has outgrown it; this
# one stays small, whatever the benchmark itself has read.
LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
ran = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
said = ran.stderr.decode(errors="replace")[-2000:]
json.dump([ran.returncode, said, used.ru_utime + used.ru_stime, wall, used.ru_maxrss], sys.stdout)
"""


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command; the kernel's accounting of it and its children says what it cost."""
    os.sync()  # or the kernel writes one command's output during the next
    launched = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        cwd=folder, env=environment, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    code, said, cpu, wall, memory = json.loads(launched.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return Cost(cpu, wall, memory * 1024)


def our_spec(folder: Path, method: str) -> list[str]:
    shared, each = METHODS.get(method, ({}, {}))
    keys = "".join(f"{key} = {value}\n" for key, value in shared.items())
    if method == "lora":
        inputs = '{ adapter = "adapter" }'
    else:
        settings = "".join(f", {key} = {value}" for key, value in each.items())
        names = ("two",) if method == "slerp" else ("one", "two")
        inputs = ", ".join(f'{{ model = "{name}"{settings} }}' for name in names)
    base = "one" if method == "slerp" else "base"
    (folder / f"{method}.toml").write_text(
        f'spec = 1\n[build]\nname = "bench"\n[base]\nmodel = "{base}"\n[merge.m]\n'
        f'method = "{method}"\ninputs = [{inputs}]\n{keys}'
    )
    return [sys.executable, "-m", "tuneforge", "merge", f"{method}.toml", "-o", "out-ours"]


def mergekit_command(folder: Path, method: str, python: Path) -> list[str]:
    shared, each = METHODS[method]
    lines = ["models:"]
    for name in ("one", "two"):
        lines += [f"  - model: {folder / name}"]
        if each:
            lines += ["    parameters:"] + [f"      {k}: {v}" for k, v in each.items()]
    lines += [f"merge_method: {method}", "dtype: bfloat16"]
    if method == "slerp":
        lines += [f"base_model: {folder / 'one'}"]
    elif method != "linear":
        lines += [f"base_model: {folder / 'base'}"]
    if shared:
        lines += ["parameters:"] + [f"  {key}: {value}" for key, value in shared.items()]
    (folder / f"{method}.yaml").write_text("\n".join(lines) + "\n")
    program = str(python.parent / "mergekit-yaml")
    return [program, f"{method}.yaml", "out-theirs", "--no-copy-tokenizer"]


PEFT = """
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("base", dtype=torch.bfloat16)
PeftModel.from_pretrained(model, "adapter").merge_and_unload().save_pretrained("out-theirs")
"""


def dd_command(folder: Path, method: str) -> list[str]:
    names = ["base"] if method == "lora" else ["one", "two"]
    reads = " ".join(f"{folder / name}/*.safetensors" for name in names)
    read = f"cat {reads} | dd of=/dev/null bs=4M"
    write = "dd if=base/model.safetensors of=out-dd/model.safetensors bs=4M"
    return ["sh", "-c", f"{read}; mkdir -p out-dd; {write}"]


def mergekit_python(given: str, folder: Path) -> Path:
    if given != "new":
        return Path(given).absolute() / "bin" / "python"
    venv = folder / "mergekit-venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/pip", "install", "-q", "mergekit==0.1.5"], check=True)
    return venv / "bin" / "python"


def equal_to_peft(folder: Path) -> str:
    from tuneforge.weights import open_weights

    ours, theirs = open_weights(folder / "out-ours"), open_weights(folder / "out-theirs")
    different = sum(ours.read(n).tobytes() != theirs.read(n).tobytes() for n in theirs)
    same = set(ours) == set(theirs) and not different
    return "every bit equal to PEFT" if same else f"{different} tensors differ from PEFT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="0.1B", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mergekit", default="", help="virtual environment, or `new`")
    parser.add_argument("--methods", default="lora,linear,slerp,ties,dare_ties")
    parser.add_argument("--folder", type=Path, default=None, help="keep the models here")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here too")
    chosen = parser.parse_args()
    figures = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    known = figures.setdefault(chosen.size, {})
    folder = _folder(chosen.folder, chosen.size)
    missed = []
    try:
        python = mergekit_python(chosen.mergekit, folder) if chosen.mergekit else None
        for method in chosen.methods.split(","):
            if method not in known:
                costs = _rounds(folder, method, chosen.rounds, python)
                note = equal_to_peft(folder) if method == "lora" else ""
                known[method] = report(chosen.size, method, costs, note)
                if chosen.json:
                    chosen.json.write_text(json.dumps(figures, indent=1))
            missed += [f"{chosen.size} {method}: {what}" for what in missing(method, known[method])]
    finally:
        for name in ("out-ours", "out-theirs", "out-dd"):
            shutil.rmtree(folder / name, ignore_errors=True)
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit("\n".join(missed) if missed else 0)


def _folder(wanted: Path | None, size: str) -> Path:
    """Return the folder of the models; they are made anew where they are not whole."""
    if wanted is None:
        folder = Path(tempfile.mkdtemp(prefix="merge-benchmark-"))
    else:
        folder = wanted.absolute() / size
        if (folder / "whole").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    make_models(folder, size)
    (folder / "whole").touch()
    return folder


def _rounds(folder: Path, method: str, rounds: int, python: Path | None) -> dict[str, list[Cost]]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    commands = {"ours": our_spec(folder, method), "dd": dd_command(folder, method)}
    if method == "lora":
        commands["theirs"] = [sys.executable, "-c", PEFT]
    elif python is not None:
        commands["theirs"] = mergekit_command(folder, method, python)
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            shutil.rmtree(folder / f"out-{name}", ignore_errors=True)
            costs[name].append(measure(command, folder, environment))
    return costs


def missing(method: str, figures: dict[str, float]) -> list[str]:
    """Name the limits that a method's figures miss."""
    found = []
    if figures["memory"] > MOST_MEMORY:
        found.append(f"{figures['memory'] / 2**20:.0f} MiB, above {MOST_MEMORY >> 20}")
    wall = figures["wall"] / figures["dd"]
    if method in ONE_PASS and wall > MOST_WALL:
        found.append(f"wall {wall:.2f} times dd's, above {MOST_WALL}")
    kind, what = ("wall", "faster than PEFT") if method == "lora" else ("cpu", "less CPU")
    if f"their_{kind}" in figures and method in TIMES:
        times = figures[f"their_{kind}"] / figures[kind]
        if times < TIMES[method]:
            found.append(f"{times:.1f} times {what}, below {TIMES[method]:g}")
    return found


def report(size: str, method: str, costs: dict[str, list[Cost]], note: str) -> dict[str, float]:
    middle = {
        name: Cost(
            statistics.median(c.cpu for c in runs),
            statistics.median(c.wall for c in runs),
            max(c.memory for c in runs),
        )
        for name, runs in costs.items()
    }
    ours, dd = middle["ours"], middle["dd"]
    line = (
        f"{size} {method:<10} ours {ours.cpu:6.1f} CPU s {ours.wall:6.1f} s "
        f"{ours.memory / 2**20:5.0f} MiB | wall {ours.wall / dd.wall:4.1f} x dd ({dd.wall:.1f} s)"
    )
    figures = {"cpu": ours.cpu, "wall": ours.wall, "memory": ours.memory, "dd": dd.wall}
    if "theirs" in middle:
        theirs = middle["theirs"]
        who = "PEFT" if method == "lora" else "mergekit"
        line += (
            f" | {who} {theirs.cpu:6.1f} CPU s {theirs.wall:6.1f} s "
            f"{theirs.memory / 2**20:5.0f} MiB | CPU {theirs.cpu / ours.cpu:4.1f} x, "
            f"wall {theirs.wall / ours.wall:4.1f} x"
        )
        figures |= {"their_cpu": theirs.cpu, "their_wall": theirs.wall}
    sys.stdout.write(f"{line} {note}\n")
    sys.stdout.flush()
    return figures


if __name__ == "__main__":
    main()
