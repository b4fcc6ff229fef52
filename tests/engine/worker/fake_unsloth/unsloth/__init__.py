"""A stand-in for Unsloth on a CPU: the same two calls, answered by transformers and PEFT.

It refuses to be imported after the libraries that the real one patches.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

LATE = [name for name in ("torch", "transformers", "trl", "peft") if name in sys.modules]
if LATE:
    raise ImportError(f"unsloth must be imported before {LATE}")


class FastLanguageModel:
    @staticmethod
    def from_pretrained(model_name: str, **arguments: Any) -> tuple[Any, None]:
        from transformers import AutoModelForCausalLM

        _note("from_pretrained", model_name=model_name, **arguments)
        return AutoModelForCausalLM.from_pretrained(model_name, dtype=arguments["dtype"]), None

    @staticmethod
    def get_peft_model(model: Any, **arguments: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        _note("get_peft_model", **arguments)
        for name in ("use_gradient_checkpointing", "random_state"):
            arguments.pop(name)
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **arguments))


def _note(call: str, **arguments: Any) -> None:
    with Path(os.environ["FAKE_UNSLOTH_CALLS"]).open("a") as file:
        file.write(json.dumps({"call": call, **arguments}, default=str) + "\n")
