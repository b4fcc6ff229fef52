"""How to run what was exported, by format."""

from collections.abc import Sequence

TRANSFORMERS = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH/TO/THIS/FOLDER")
tokenizer = AutoTokenizer.from_pretrained("PATH/TO/THIS/FOLDER")
messages = [{"role": "user", "content": "..."}]
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**prompt, max_new_tokens=256)
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
```"""


def usage(kind: str, files: Sequence[str]) -> str:
    """Return the commands that run an export of this format."""
    if kind == "gguf":
        lines = "\n".join(f"llama-cli -m {file} --jinja -cnv" for file in files)
        return f"```sh\n{lines}\n```"
    if kind == "ollama":
        return "```sh\nollama create NAME -f Modelfile\nollama run NAME\n```"
    if kind == "adapter":
        return "See `serve.md` for the commands that serve this adapter beside its base."
    return TRANSFORMERS
