"""Make SUITE_results.safetensors: inputs and mergekit 0.1.5's results on a tiny float32 model.

    MERGEKIT_VENV/bin/python make_mergekit_results.py SUITE

SUITE_cases.json says what is merged: `mergekit` has one layer, `gradients` has five.

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
SIZES = {"mergekit": (1, 16, 24, 32), "gradients": (5, 4, 6, 8)}  # layers, width, inner, words


def config_of(layers: int, width: int, inner: int, words: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": words, "tie_word_embeddings": False,
        "dtype": "float32",
    }  # fmt: skip


def shapes_of(layers: int, width: int, inner: int, words: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, width)}
    for number in range(layers):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.mlp.down_proj.weight": (width, inner),
            f"{layer}.mlp.gate_proj.weight": (inner, width),
            f"{layer}.mlp.up_proj.weight": (inner, width),
            f"{layer}.post_attention_layernorm.weight": (width,),
            f"{layer}.self_attn.k_proj.weight": (width, width),
            f"{layer}.self_attn.o_proj.weight": (width, width),
            f"{layer}.self_attn.q_proj.weight": (width, width),
            f"{layer}.self_attn.v_proj.weight": (width, width),
        }
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (words, width)}


def main() -> None:
    (suite,) = sys.argv[1:]
    cases = json.loads((HERE / f"{suite}_cases.json").read_text())
    shapes = shapes_of(*SIZES[suite])
    generator = np.random.default_rng(42)
    stored: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
        for which in ("base", "one", "two", "three"):
            tensors = base
            if which != "base":
                tensors = {
                    n: (v + 0.2 * generator.normal(size=v.shape)).astype(np.float32)
                    for n, v in base.items()
                }
            (folder / which).mkdir()
            (folder / which / "config.json").write_text(json.dumps(config_of(*SIZES[suite])))
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
    save_file(stored, HERE / f"{suite}_results.safetensors")


if __name__ == "__main__":
    main()
