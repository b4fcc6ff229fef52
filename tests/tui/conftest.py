"""A workspace that was built for real, with a base that exists and nothing that trains."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).parent / "piloted"))

SPEC = """
spec = 1
[build]
name = "cockpit-test"
[sources.rows]
path = "rows.jsonl"
[datasets.instruct]
from = [{ source = "rows" }]
filters = [{ kind = "length", of = "completion", unit = "words", min = 2 }]
[base]
model = "model"
"""


def write_base(folder: Path) -> None:
    """Make a model folder with a small tokenizer; nobody will run it."""
    folder.mkdir()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        ["answer the question number in two words please"] * 20,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 300,
        "max_position_embeddings": 128,
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights = {"model.embed_tokens.weight": np.zeros((300, 8), np.float32)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_project(folder: Path, spec: str = SPEC) -> Path:
    """Write a spec with its data and base; return the spec."""
    write_base(folder / "model")
    words = ["red", "green", "blue", "amber", "violet", "white", "black", "ochre"]
    rows = [
        {
            "instruction": f"answer question number {n} about {words[n % 8]} and {words[n // 8]}",
            "output": "no" if n % 8 == 0 else f"answer {words[n % 8]} {words[n // 8]} {n}",
        }
        for n in range(64)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "spec.toml").write_text(spec)
    return folder / "spec.toml"


def tuneforge(*arguments: str, folder: Path) -> None:
    """Run the program; fail with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tuneforge", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec that has not been built."""
    return write_project(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec that has been built."""
    folder = tmp_path_factory.mktemp("built")
    path = write_project(folder)
    tuneforge("build", folder=folder)
    return path
