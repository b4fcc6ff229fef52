"""Job: quantise a model folder with bitsandbytes (loads torch and transformers).

transformers does the quantising, as it will do the reading: the folder is what `from_pretrained`
with the same configuration would have in memory.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.worker.probe import Comparison, logits_of

if TYPE_CHECKING:
    from tuneforge.worker.run import WorkerRun


def quantize(job: dict[str, Any], run: "WorkerRun") -> None:
    """Write the quantised folder to the output, read it again and measure its logits."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(int(job["threads"]))
    source, folder = Path(job["source"]), run.output / "model"
    run.phase("source")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    expected = [logits_of(model, ids) for ids in job["sequences"]]
    del model
    run.phase("quantise")
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=_configuration(job["quantize"]), dtype=torch.float32
    )
    # Saved before its first forward: on some CPUs that repacks the weights for good.
    model.save_pretrained(folder)
    del model
    run.phase("read again")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for module in model.modules():
        # The packed kernel of newer CPUs takes no widths that leave a block half filled.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    comparison = Comparison()
    for ids, logits in zip(job["sequences"], expected, strict=True):
        comparison.add(logits, logits_of(model, ids))
    (run.output / "measured.json").write_text(json.dumps(comparison.summary()), "utf-8")


def _configuration(kind: str) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
