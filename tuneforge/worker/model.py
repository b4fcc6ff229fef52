"""The model under training, through transformers, PEFT and bitsandbytes. Loads torch."""

from pathlib import Path
from typing import Any

import torch
from tuneforge_specs.errors import UsageError

from tuneforge.worker.run import WorkerRun


def load_tokenizer(job: dict[str, Any], rendering: dict[str, Any]) -> Any:
    """Load the base's tokenizer with the rendering's chat template and padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["base"]["path"])
    tokenizer.chat_template = rendering["chat_template"] or None
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(rendering["pad"])
    return tokenizer


def load_model(job: dict[str, Any], max_tokens: int, run: WorkerRun) -> Any:
    """Load the base or the full model to start from, and put the adapter on it."""
    if job["backend"] == "unsloth":
        from tuneforge.worker import unsloth_model

        return unsloth_model.load(job, max_tokens)
    start, full = job["start"], job["adapter"]["kind"] == "full"
    model = load_base(
        Path(start["path"] if full and start else job["base"]["path"]),
        dtype=job["base"]["dtype"],
        quantize="none" if full else job["base"]["quantize"],
        device=job["device"],
    )
    if full:
        return model
    if start:
        return continued_adapter(model, Path(start["path"]), job["adapter"]["dropout"])
    return fresh_adapter(model, job["adapter"], run)


def load_base(folder: Path, *, dtype: str, quantize: str, device: str) -> Any:
    """Load a model folder, quantised if asked, ready for gradients to pass through it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    compute = getattr(torch, dtype)
    config = None
    if quantize == "nf4":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=compute,
        quantization_config=config,
        device_map={"": 0} if device == "cuda" else {"": "cpu"},
    )
    if quantize == "nf4":
        from tuneforge.worker.nf4_on_cpu import read_rightly

        keep_gradients(model)
        read_rightly(model)
    return model


def keep_gradients(model: Any) -> None:
    """Keep 4-bit layers from repacking their weights on the first forward in eval mode.

    On CPUs with AVX512-BF16, bitsandbytes swaps in a packed copy there that has no backward: after
    an evaluation during training, gradients would silently end at the first such layer.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def continued_adapter(model: Any, folder: Path, dropout: float) -> Any:
    """Put a trained adapter on a model to train on; of its shape only the dropout may change."""
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(folder)
    config.lora_dropout = dropout
    return PeftModel.from_pretrained(model, folder, config=config, is_trainable=True)


def fresh_adapter(model: Any, adapter: dict[str, Any], run: WorkerRun) -> Any:
    """Put a new LoRA adapter on a model; its own weights are 32-bit whatever the base is."""
    from peft import LoraConfig, get_peft_model

    targets = adapter["target_modules"]
    config = LoraConfig(
        r=adapter["r"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=list(targets) if isinstance(targets, list | tuple) else targets,
        use_rslora=adapter["rslora"],
        use_dora=adapter["dora"],
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        if "target modules" not in str(error).lower():
            raise
        linear = {
            name.rsplit(".", 1)[-1]
            for name, m in model.named_modules()
            if hasattr(m, "in_features")
        }
        raise UsageError(
            f"adapter.target_modules = {targets!r} matches no module of the base",
            f'use "all-linear", or names among {", ".join(sorted(linear))}',
        ) from error
    trainable, total = wrapped.get_nb_trainable_parameters()
    run.log(f"adapter: {trainable} trainable of {total} parameters")
    return wrapped
