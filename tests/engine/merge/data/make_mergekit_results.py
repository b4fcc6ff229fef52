"""Make mergekit_results.safetensors: inputs and mergekit 0.1.5's results on a tiny float32 model.

    MERGEKIT_VENV/bin/python make_mergekit_results.py

Needs mergekit, which the tests do not; run again only when a case is added.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 32, "tie_word_embeddings": False, "dtype": "float32",
}  # fmt: skip
LAYER = "model.layers.0"
SHAPES = {
    "model.embed_tokens.weight": (32, 16),
    f"{LAYER}.input_layernorm.weight": (16,),
    f"{LAYER}.mlp.down_proj.weight": (16, 24),
    f"{LAYER}.mlp.gate_proj.weight": (24, 16),
    f"{LAYER}.mlp.up_proj.weight": (24, 16),
    f"{LAYER}.post_attention_layernorm.weight": (16,),
    f"{LAYER}.self_attn.k_proj.weight": (16, 16),
    f"{LAYER}.self_attn.o_proj.weight": (16, 16),
    f"{LAYER}.self_attn.q_proj.weight": (16, 16),
    f"{LAYER}.self_attn.v_proj.weight": (16, 16),
    "model.norm.weight": (16,),
    "lm_head.weight": (32, 16),
}


def main() -> None:
    cases = json.loads((HERE / "mergekit_cases.json").read_text())
    generator = np.random.default_rng(42)
    stored: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = {n: generator.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
        for which in ("base", "one", "two", "three"):
            tensors = base
            if which != "base":
                tensors = {
                    n: (v + 0.2 * generator.normal(size=v.shape)).astype(np.float32)
                    for n, v in base.items()
                }
            (folder / which).mkdir()
            (folder / which / "config.json").write_text(json.dumps(CONFIG))
            save_file(tensors, folder / which / "model.safetensors", metadata={"format": "pt"})
            stored |= {f"{which}/{name}": values for name, values in tensors.items()}
        for name, case in cases.items():
            config = {
                "merge_method": case["method"],
                "dtype": "float32",
                "models": [
                    {"model": str(folder / which), "parameters": settings}
                    for which, settings in case["models"].items()
                ],
                "parameters": case["theirs"],
            }
            if case["base"]:
                config["base_model"] = str(folder / case["base"])
            (folder / "case.yaml").write_text(json.dumps(config))  # JSON is YAML
            program = str(Path(sys.executable).parent / "mergekit-yaml")
            subprocess.run(
                [program, "case.yaml", name, "--no-copy-tokenizer"], cwd=folder, check=True
            )
            result = load_file(folder / name / "model.safetensors")
            stored |= {f"{name}/{tensor}": values for tensor, values in result.items()}
    save_file(stored, HERE / "mergekit_results.safetensors")


if __name__ == "__main__":
    main()
