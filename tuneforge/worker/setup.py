"""What a method gets to build its trainer from, and the training arguments all methods share.

Loads torch only where a function that needs it is called.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

OPTIMIZERS: Final = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
SCHEDULERS: Final = {
    "constant": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
}


@dataclass
class Setup:
    """One attempt at a job. ``micro_batch`` and ``accumulate`` change after an OOM."""

    job: dict[str, Any]
    model: Any
    tokenizer: Any
    train: Any
    eval: Any
    checkpoints: Path
    micro_batch: int
    accumulate: int
    max_tokens: int
    callbacks: tuple[Any, ...] = field(default=())

    @property
    def adapter(self) -> bool:
        """Say whether an adapter trains, rather than every weight."""
        return bool(self.job["adapter"]["kind"] != "full")


def trainer_arguments(setup: Setup) -> dict[str, Any]:
    """Return the TrainingArguments fields that do not depend on the method."""
    args, job = setup.job["args"], setup.job
    cuda = job["device"] == "cuda"
    # "auto" is by the clock: see callback.py
    every = 0 if args["checkpoint_every"] == "auto" else args["checkpoint_every"]
    evaluates = setup.eval is not None and args["eval_every"] > 0
    return {
        "output_dir": str(setup.checkpoints),
        "seed": job["seed"],
        "data_seed": job["seed"],
        "use_cpu": not cuda,
        "bf16": cuda and job["base"]["dtype"] == "bfloat16",
        "fp16": cuda and job["base"]["dtype"] == "float16",
        "num_train_epochs": args["epochs"],
        "max_steps": args["max_steps"] or -1,
        "learning_rate": args["learning_rate"],
        "lr_scheduler_type": SCHEDULERS[args["scheduler"]],
        # transformers takes a float below 1 as a share of the steps
        "warmup_steps": min(args["warmup"], 0.999_999),
        "weight_decay": args["weight_decay"],
        "max_grad_norm": args["max_grad_norm"],
        "optim": OPTIMIZERS[args["optimizer"]],
        "per_device_train_batch_size": setup.micro_batch,
        "per_device_eval_batch_size": setup.micro_batch,
        "gradient_accumulation_steps": setup.accumulate,
        "gradient_checkpointing": args["gradient_checkpointing"],
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": args["eval_every"] if evaluates else None,
        "save_strategy": "steps" if every else "no",
        "save_steps": every or 1,
        # old checkpoints go only after the new one is marked complete: see checkpoints.py
        "save_total_limit": None,
        "logging_steps": 1,
        # the filter would hide a NaN behind an average of earlier losses
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
    }
