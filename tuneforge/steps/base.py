"""The base model: an existing one checked and linked, or a small one made by a worker."""

import json
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.base import ModelBase, Scratch, ScratchBase
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.digest import value_digest
from tuneforge.runs import run_job
from tuneforge.step import StepContext
from tuneforge.workspace import Workspace

VERSION: Final = 2
SMOKE: Final = "base.smoke"
NEEDED: Final = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")
LEGACY: Final = ("pytorch_model*.bin", "model*.bin", "consolidated*.pth")
SMOKE_TABLE: Final = {
    "hidden": 32,
    "layers": 2,
    "heads": 2,
    "kv_heads": 2,
    "intermediate": 64,
    "steps": 2,
    "batch": 2,
    "sequence": 16,
}


def run(context: StepContext) -> None:
    """Write ``model/`` (a Hugging Face folder) and ``base.json``."""
    base = context.spec.base
    model = context.out / "model"
    if isinstance(base, ScratchBase):
        _worker(context, {"kind": "scratch", **_scratch(context, base.scratch)})
        name = f"{context.spec.build.name}-base"
    else:
        folder, name = find(base, context)
        check_folder(folder)
        if context.step.params.get(SMOKE):
            _worker(context, {"kind": "smoke", "model": str(folder)})
        else:
            model.symlink_to(folder, target_is_directory=True)
    check_folder(model)
    facts = describe(model, name, Workspace(context.workspace))
    (context.out / "base.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def find(base: ModelBase, context: StepContext) -> tuple[Path, str]:
    """Return an existing model's folder and name, downloading it from the hub if need be.

    A local folder goes by its own name: its path would say nothing on another machine.
    """
    local = context.spec_dir / Path(base.model).expanduser()
    if local.is_dir():
        return local.resolve(), local.resolve().name
    from huggingface_hub import snapshot_download

    commit = context.step.params.get("base.model@commit")
    try:
        revision = str(commit or base.revision)
        folder = snapshot_download(base.model, revision=revision, allow_patterns=list(NEEDED))
    except Exception as error:  # the hub client raises its HTTP library's errors as they are
        raise EnvironmentMissing(
            f"base.model: {base.model} is no folder in {context.spec_dir}, and it could not be "
            f"fetched from the hub ({type(error).__name__})",
            f"name a model folder, or fetch it while online: hf download {base.model}",
        ) from error
    return Path(folder), base.model


def check_folder(folder: Path) -> Path:
    """Return a model folder that has all it needs; raise EnvironmentMissing otherwise.

    Raises DataError where a header of its weights is damaged.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        legacy = [path.name for pattern in LEGACY for path in folder.glob(pattern)]
        if legacy:
            raise EnvironmentMissing(
                f"base.model: {folder} has only legacy pickle weights ({legacy[0]}), which can run "
                "code when they are opened",
                "convert them once where you trust them: AutoModelForCausalLM.from_pretrained(X)"
                ".save_pretrained(Y), and name Y",
            )
        raise EnvironmentMissing(
            f"base.model: {folder} has no *.safetensors", "name a folder with safetensors weights"
        )
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise EnvironmentMissing(
                f"base.model: {folder} has no {name}",
                "add it; AutoTokenizer.from_pretrained(X).save_pretrained(Y) writes tokenizer.json"
                if name == "tokenizer.json"
                else "name a complete Hugging Face model folder",
            )
    _check_shards(folder)
    from tuneforge.weights import open_weights

    with open_weights(folder):  # a damaged or hostile header is refused before anything is made
        pass
    return folder


def _check_shards(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    shards = set(json.loads(index.read_text())["weight_map"].values())
    missing = sorted(shard for shard in shards if not (folder / shard).is_file())
    if missing:
        raise EnvironmentMissing(
            f"base.model: {folder} lacks {len(missing)} of {len(shards)} shards ({missing[0]})",
            "download the model again",
        )


def describe(model: Path, name: str, workspace: Workspace) -> dict[str, Any]:
    """Return what base.json says; ``digest`` stands for weights, config and tokenizer."""
    config = json.loads((model / "config.json").read_text())
    files = [model / "config.json", model / "tokenizer.json", *sorted(model.glob("*.safetensors"))]
    digests = {path.name: workspace.digests.digest(path.resolve()) for path in files}
    return {
        "v": 1,
        "id": name,
        "digest": value_digest(digests),
        "architecture": (config.get("architectures") or [""])[0],
        "model_type": config.get("model_type", ""),
        "bytes": sum(path.stat().st_size for path in files),
    }


def _worker(context: StepContext, job: dict[str, Any]) -> None:
    job |= {"seed": context.seed, "threads": context.threads}
    run_dir = Workspace(context.workspace).run_path(context.step.id, context.key)
    outcome = run_job(run_dir, job, context.report)
    outcome.copy_to(context.out / "model")
    context.notes["run"] = outcome.summary


def _scratch(context: StepContext, scratch: Scratch) -> dict[str, Any]:
    table = scratch.model_dump(mode="json")
    if context.step.params.get(SMOKE):
        table |= {key: min(size, table[key]) for key, size in SMOKE_TABLE.items()}
        table |= {"heads": 2, "kv_heads": 2, "hidden": 32}
    corpus = [
        str(context.inputs[f"source.{name}"].path / "records.parquet")
        for name in table.pop("corpus")
    ]
    return {"scratch": table, "corpus": corpus}
