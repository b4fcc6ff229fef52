"""Export as a PEFT adapter folder, to be served beside its base, many adapters on one base."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import AdapterExport

from tuneforge.export.job import Job
from tuneforge.export.model_folder import TOKENIZER_FILES, ModelFolder
from tuneforge.export.safetensors import (
    check_ends,
    check_template,
    check_tokenizer,
    same,
    write_generation_config,
)
from tuneforge.export.verify.report import Report
from tuneforge.weights import Weights, open_weights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
STEM = "adapter_model"
# vLLM's choices for --max-lora-rank (vllm/config/lora.py).
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Served:
    """One adapter of the folder: the name that requests use, where it is, adapter_config.json."""

    name: str
    path: str
    config: dict[str, Any]


def export(job: Job, settings: AdapterExport) -> Report:
    """Ship the adapters with their base's name and `serve.md`, and check them."""
    report = Report()
    shipped = [Served(job.name, "PATH/TO/THIS/FOLDER", _ship(job, settings, report))]
    for other in job.beside:
        part = Report()
        other.out.mkdir()
        config = _ship(other, settings, part)
        shipped.append(Served(other.name, f"PATH/TO/THIS/FOLDER/{other.out.name}", config))
        report.include(other.out.name, part)
    text = serve(shipped, f"{job.name}-lora.gguf" if settings.gguf else "")
    (job.out / "serve.md").write_text(text, "utf-8")
    return report


def _ship(job: Job, settings: AdapterExport, report: Report) -> dict[str, Any]:
    source = job.model.path
    config = adapter_config(job.model)
    config["base_model_name_or_path"] = job.base or config.get("base_model_name_or_path", "")
    config["inference_mode"] = True
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (job.out / CONFIG).write_text(text, "utf-8")
    shutil.copyfile(source / WEIGHTS, job.out / WEIGHTS)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, job.out / name)
    write_generation_config(job, job.out)
    _check(job, config, report)
    report.notes += limits(config)
    if settings.gguf:
        _write_gguf(job, config, report)
    return config


def _write_gguf(job: Job, config: dict[str, Any], report: Report) -> None:
    """Write the adapter as GGUF, too; its tensors are in the order of the base's GGUF file."""
    from tuneforge.export.gguf.lora import write_lora
    from tuneforge.export.verify.lora import check_lora

    if job.base_model is None:
        raise UsageError(
            "gguf = true needs the base's config.json beside the adapter", "export from a build"
        )
    base = job.base_model.config
    path = job.out / f"{job.name}-lora.gguf"
    with open_weights(job.model.path, STEM) as weights:
        check_lora(path, base, write_lora(path, job.name, config, base, weights), weights, report)


def adapter_config(model: ModelFolder) -> dict[str, Any]:
    """Return adapter_config.json of a folder; refuse what is no LoRA."""
    file = model.path / CONFIG
    config: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if config.get("peft_type") != "LORA" or not (model.path / WEIGHTS).is_file():
        raise UsageError(
            f"{model.path} is no LoRA adapter ({config.get('peft_type', f'no {CONFIG}')})",
            "only LoRA adapters can be served beside a base; merge others and export the merge",
        )
    return config


def _check(job: Job, config: dict[str, Any], report: Report) -> None:
    equal = same(job.model.path / WEIGHTS, job.out / WEIGHTS)
    report.add("weights", WEIGHTS, "sha256", equal, "equal" if equal else "other bytes")
    with open_weights(job.out, STEM) as weights:
        report.add("pairs", WEIGHTS, "safetensors", *_pairs(weights))
        report.add("delta", WEIGHTS, "safetensors", *_delta(weights))
    named = bool(config["base_model_name_or_path"])
    base = config["base_model_name_or_path"] or "no base is named"
    report.add("base", CONFIG, "json", named, base)
    shipped = ModelFolder(job.out)
    if (job.model.path / "tokenizer.json").is_file():
        check_tokenizer(job, report)
        check_ends(job, shipped, report)
        check_template(job, shipped.chat_template, report)
    else:
        report.unverified.append("tokenizer and template: the adapter was saved without them")


def _pairs(weights: Weights) -> tuple[bool, str]:
    """Check that every A has its B of the same rank."""
    downs = [name for name in weights if ".lora_A." in name]
    wrong = []
    for name in downs:
        up = weights.get(name.replace(".lora_A.", ".lora_B."))
        if up is None or up.shape[1] != weights[name].shape[0]:
            wrong.append(name)
    if wrong or not downs:
        return False, f"{len(wrong)} of {len(downs)} have no partner" + "".join(wrong[:1])
    return True, f"{len(downs)} modules"


def _delta(weights: Weights) -> tuple[bool, str]:
    """Check that the adapter changes the model: B starts at zero and training moves it."""
    largest = 0.0
    for name in weights:
        if ".lora_B." in name:
            values = weights.read(name).astype(np.float32)
            largest = max(largest, float(np.abs(values).max(initial=0.0)))
            if not math.isfinite(largest):
                return False, f"{name} is not finite"
    return largest > 0.0, f"largest B {largest:.3g}"


def rank_of(config: dict[str, Any]) -> int:
    """Return the largest rank of any module."""
    ranks = [int(config["r"]), *(int(r) for r in (config.get("rank_pattern") or {}).values())]
    return max(ranks)


def limits(config: dict[str, Any]) -> list[str]:
    """Return what vLLM does not serve, though PEFT loads it."""
    notes = []
    if config.get("use_dora"):
        notes.append("vLLM does not serve DoRA adapters: merge this one for vLLM")
    if config.get("modules_to_save"):
        notes.append("vLLM does not serve modules_to_save: merge this one for vLLM")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        notes.append("vLLM serves one rank and alpha for all modules, this adapter has several")
    if rank_of(config) > VLLM_RANKS[-1]:
        notes.append(
            f"vLLM serves ranks up to {VLLM_RANKS[-1]}, this adapter has {rank_of(config)}"
        )
    return notes


def serve(shipped: Sequence[Served], gguf: str = "") -> str:
    """Return serve.md: the commands that serve the adapters, the first of which is the export's."""
    first = shipped[0]
    base = first.config["base_model_name_or_path"]
    largest = max(rank_of(adapter.config) for adapter in shipped)
    rank = next((r for r in VLLM_RANKS if r >= largest), VLLM_RANKS[-1])
    several = len(shipped) > 1
    notes = "".join(
        f"- {adapter.name}: {note}\n" if several else f"- {note}\n"
        for adapter in shipped
        for note in limits(adapter.config)
    )
    warning = f"\n## Not with vLLM\n\n{notes}" if notes else ""
    llama_cpp = (
        f"\n## llama.cpp\n\n```sh\nllama-server -m BASE.gguf --lora {gguf}\n```\n" if gguf else ""
    )
    modules = " \\\n    ".join(f"{adapter.name}={adapter.path}" for adapter in shipped)
    ranks = ", ".join(
        f"{adapter.name} of rank {rank_of(adapter.config)}" if several else f"{largest}"
        for adapter in shipped
    )
    what = (
        f"LoRA adapters for `{base}`: {ranks}"
        if several
        else (f"A LoRA adapter of rank {ranks} for `{base}`")
    )
    return f"""# Serving {first.name}

{what}. One server holds the base once and any number
of adapters; a request chooses by model name.

## vLLM

```sh
vllm serve {base} \\
  --enable-lora --max-lora-rank {rank} --max-loras {max(4, len(shipped))} \\
  --lora-modules {modules}
```

```sh
curl http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' -d '{{
  "model": "{first.name}",
  "messages": [{{"role": "user", "content": "..."}}]
}}'
```

More adapters: `--lora-modules {first.name}=PATH other=PATH2`. To load and unload while the server
runs, start it with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` and post `{{"lora_name": ..., "lora_path":
...}}` to `/v1/load_lora_adapter`. With a chat template other than the base's, add
`--chat-template PATH/TO/THIS/FOLDER/chat_template.jinja`.

## Transformers

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(
    AutoModelForCausalLM.from_pretrained("{base}"), "PATH/TO/THIS/FOLDER"
)
```
{llama_cpp}{warning}"""
