"""The model under training, through Unsloth. Loads torch; needs CUDA and the package unsloth.

Not yet run on a GPU: written against the source of unsloth 2026.10.9. Rows, labels, trainer,
checkpoints and result are those of the other backend; only the model comes from here. The worker
has imported unsloth before transformers, TRL and PEFT, all of which it patches.
"""

from pathlib import Path
from typing import Any


def load(job: dict[str, Any], max_tokens: int) -> Any:
    """Load the base or the full model to start from, and put the adapter on it."""
    import torch
    from unsloth import FastLanguageModel

    start, adapter, args = job["start"], job["adapter"], job["args"]
    full = adapter["kind"] == "full"
    nf4 = job["base"]["quantize"] == "nf4"
    checkpointing = "unsloth" if args["gradient_checkpointing"] else False
    model, _ = FastLanguageModel.from_pretrained(
        model_name=start["path"] if full and start else job["base"]["path"],
        max_seq_length=max_tokens,
        dtype=getattr(torch, job["base"]["dtype"]),
        load_in_4bit=nf4 and not full,
        load_in_16bit=not nf4 and not full,
        full_finetuning=full,
        use_gradient_checkpointing=checkpointing,
        # else a known name is swapped for Unsloth's own upload of it, which is another base
        use_exact_model_name=True,
        random_state=job["seed"],
    )
    if full:
        return model
    targets = adapter["target_modules"]
    model = FastLanguageModel.get_peft_model(
        model,
        r=adapter["r"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=list(targets) if isinstance(targets, list | tuple) else targets,
        use_rslora=adapter["rslora"],
        use_dora=adapter["dora"],
        bias="none",
        use_gradient_checkpointing=checkpointing,
        random_state=job["seed"],
    )
    if start:
        _take_over(model, Path(start["path"]))
    return model


def _take_over(model: Any, folder: Path) -> None:
    # PeftModel.from_pretrained would go around what get_peft_model patches, so the trained
    # weights are put into the adapter that it made
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors")
    result = set_peft_model_state_dict(model, weights)
    assert not result.unexpected_keys, result.unexpected_keys
