"""Generation in batches against one row at a time, token by token, with a plain forward pass."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.train
NEW = 12


@pytest.fixture(scope="module")
def rows_file(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold out rows of very different lengths."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    words = ["red", "green", "blue", "black", "white", "small", "large", "round", "flat", "quick"]
    rows = []
    for n in range(7):
        said = " ".join((words * 2)[: 1 + 2 * n])
        prompt = tokenizer.encode(
            f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
        ).ids
        answer = tokenizer.encode(f"{words[n]}<|im_end|>").ids
        rows.append(
            {
                "record_id": f"s:{n}",
                "input_ids": prompt + answer,
                "loss_mask": [0] * len(prompt) + [1] * len(answer),
                "prompt_ids": prompt,
            }
        )
    path = tmp_path_factory.mktemp("rows") / "eval.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def job(base: Path, rows_file: Path, **changed: Any) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    model = {
        "path": str(base),
        "tokenizer": str(base),
        "adapter": "",
        "quantize": "none",
        "dtype": "float32",
    }
    return {
        "kind": "generate",
        "seed": 1,
        "threads": 1,
        "device": "cpu",
        "models": {"base": model, "model": model | {"quantize": "nf4"}},
        "rows_file": str(rows_file),
        "rows": 0,
        "batch": 3,
        "max_new_tokens": NEW,
        "pad": tokenizer.token_to_id("<|pad|>"),
        "terminators": [tokenizer.token_to_id("<|im_end|>")],
        "loss": True,
        "generate": True,
    } | changed


def run(path: Path, described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    from tuneforge.worker.generate import generate
    from tuneforge.worker.run import WorkerRun

    (path / "output").mkdir(parents=True)
    worker = WorkerRun(path)
    generate(described, worker)
    outputs = pq.read_table(worker.output / "outputs.parquet").to_pydict()
    return outputs, json.loads((worker.output / "measured.json").read_text())


def one_by_one(base: Path, rows_file: Path, end: int) -> tuple[list[str], list[bool], float]:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    texts, stopped, losses = [], [], []
    for row in pq.read_table(rows_file).to_pylist():
        ids, said = list(row["prompt_ids"]), []
        with torch.no_grad():
            while len(said) < NEW and end not in said:
                said.append(int(model(torch.tensor([ids + said])).logits[0, -1].argmax()))
            scores = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        stopped.append(end in said)
        texts.append(tokenizer.decode([token for token in said if token != end]))
        losses += [
            -float(scores[at - 1, row["input_ids"][at]])
            for at, wanted in enumerate(row["loss_mask"])
            if wanted
        ]
    return texts, stopped, sum(losses) / len(losses)


def test_batches_say_what_single_rows_say(base: Path, rows_file: Path, tmp_path: Path) -> None:
    described = job(base, rows_file)
    outputs, measured = run(tmp_path / "run", described)
    texts, stopped, loss = one_by_one(base, rows_file, described["terminators"][0])
    assert outputs["base_output"] == texts
    assert outputs["base_stopped"] == stopped
    assert measured["base"]["unstopped"] == stopped.count(False)
    assert measured["base"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert measured["model"]["loss"] != measured["base"]["loss"]  # NF4 is another model
    assert outputs["record_id"] == [f"s:{n}" for n in range(7)]


def test_fewer_rows_and_one_model(base: Path, rows_file: Path, tmp_path: Path) -> None:
    described = job(base, rows_file, rows=2, loss=False)
    del described["models"]["model"]
    outputs, measured = run(tmp_path / "run", described)
    assert outputs["record_id"] == ["s:0", "s:1"]
    assert set(measured) == {"base"}
    assert "loss" not in measured["base"]
