"""What a training run leaves behind: adapter or model, tokenizer, training.json. Loads torch."""

import json
from pathlib import Path

from tuneforge.worker.attempt import Attempt


def save(made: Attempt, output: Path, metrics: dict[str, float]) -> None:
    """Write ``adapter/`` or ``model/`` with its tokenizer, and training.json.

    All of it is the same for equal runs: no times, paths or devices.
    """
    job = made.job
    if job["adapter"]["kind"] == "full":
        folder = output / "model"
        made.model.save_pretrained(folder)
    else:
        folder = output / "adapter"
        made.model.peft_config["default"].base_model_name_or_path = job["base"]["id"]
        made.model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # a blank card; the export writes a real one
        sort_lists(folder / "adapter_config.json")
    made.tokenizer.save_pretrained(folder)
    base = {key: job["base"][key] for key in ("id", "digest", "quantize", "dtype")}
    facts = {
        "v": 1,
        "name": job["name"],
        "method": job["method"],
        "adapter": job["adapter"],
        "backend": job["backend"],
        "base": base,
        "start": job["start"]["digest"] if job["start"] else "",
        "args": job["args"],
        "loss": job["loss"],
        "seed": job["seed"],
        "steps": made.steps,
        "metrics": {key: round(value, 6) for key, value in sorted(metrics.items())},
    }
    (output / "training.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def sort_lists(path: Path) -> None:
    """Sort the lists of an adapter_config.json: PEFT writes sets, in the order of the day."""
    config = json.loads(path.read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
