"""Real datasets from the file to proven renderings: read, curated, rendered, linted."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tuneforge_datastore.render.dataset import render_dataset
from tuneforge_datastore.render.lint import lint
from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_specs.datasets import Template

FILES = {
    "alpaca_en_demo.json": "sft",
    "gsm8k_test.jsonl": "sft",
    "glaive_toolcall_en_demo.json": "sft",
    "identity.json": "sft",
    "dpo_en_demo.json": "preference",
    "kto_en_demo.json": "unpaired",
    "wiki_demo.txt": "text",
}


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_renders_and_passes_lint(
    name: str, bench, shared_data: Path, model: Path, tmp_path: Path
) -> None:
    keys = {"columns": {"prompt": "question", "completion": "answer"}} if "gsm8k" in name else {}
    records = bench.ingest(str(shared_data / name), name="real", **keys)
    bench.curate({"real": records}, split={"eval": 0.1})
    out = tmp_path / "rendering"
    out.mkdir()
    template = Template(max_tokens=512, overflow="truncate")
    kept = tmp_path / "dataset" / "kept.parquet"
    summary = render_dataset(kept, model, template, directory=tmp_path, out=out)
    assert summary.mode == FILES[name]
    assert summary.counts["train"] > 20
    assert {check.name for check in lint(out, model, template) if check.failures} == set()
    verdicts = pq.read_table(out / "verdicts.parquet")
    assert verdicts["record_id"].to_pylist() == pq.read_table(kept)["id"].to_pylist()


def test_tool_calls_survive(bench, shared_data: Path, model: Path, tmp_path: Path) -> None:
    records = bench.ingest(str(shared_data / "glaive_toolcall_en_demo.json"), name="real")
    bench.curate({"real": records})
    template = Template(chat="qwen", max_tokens=100_000)
    kept = tmp_path / "dataset" / "kept.parquet"
    render_dataset(kept, model, template, directory=tmp_path, out=tmp_path)
    vocabulary = Vocabulary(model)
    texts = {
        row["record_id"]: vocabulary.decode(row["input_ids"])
        for row in pq.read_table(tmp_path / "train.parquet").to_pylist()
    }
    raw = json.loads((shared_data / "glaive_toolcall_en_demo.json").read_text(encoding="utf-8"))
    calls = 0
    for record_id, text in texts.items():
        for part in raw[int(record_id.split(":")[1])]["conversations"]:
            if part["from"] == "function_call":
                call = json.loads(part["value"])
                name = json.dumps(call["name"])
                arguments = json.dumps(call["arguments"], ensure_ascii=False)
                assert f'{{"name": {name}, "arguments": {arguments}}}' in text
                calls += 1
    assert calls > 100
