"""A base made from nothing."""

import json
from pathlib import Path

import pytest
from tuneforge_specs.errors import DataError, TrainingFailed

from tuneforge.runs import launch, run_job
from tuneforge.runs.follow import follow

pytestmark = pytest.mark.train


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_base_learns_and_loads(base, scratch_job, losses):
    seen = losses(base.parent)
    assert len(seen) == scratch_job["scratch"]["steps"]
    assert seen[80] < seen[1] - 2.0
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert model.config.tie_word_embeddings
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (32, 2)
    assert tokenizer.vocab_size <= 320
    assert model.config.vocab_size == len(tokenizer)
    text = 'red green\n<|im_start|>user\n{"a": 1} häß 漢字<|im_end|>'
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1
    ends = {tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}
    assert set(model.generation_config.eos_token_id) == ends


def test_the_same_job_gives_the_same_bytes_also_after_kill_9(
    base, scratch_job, tmp_path, report, losses, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    killed = scratch_job | {"kind": "killing_jobs:scratch", "die_at": 7}
    run_dir = tmp_path / "run"
    launch(run_dir, killed)
    with pytest.raises(TrainingFailed, match="killed"):
        follow(run_dir, report)
    assert max(losses(run_dir)) == 7
    output = run_job(run_dir, scratch_job, report).output
    names = sorted(path.name for path in base.iterdir())
    assert names == sorted(path.name for path in output.iterdir())
    for name in names:
        assert (output / name).read_bytes() == (base / name).read_bytes(), name
    assert losses(run_dir) == losses(base.parent)
    first = [e for e in map(json.loads, (run_dir / "events.jsonl").open()) if e["event"] == "step"]
    assert len(first) < 2 * len(losses(run_dir))  # it went on; it did not start again


def test_another_seed_gives_another_base(base, scratch_job, tmp_path, report):
    assert weights(run_job(tmp_path / "run", scratch_job | {"seed": 4}, report).output) != weights(
        base
    )


def test_a_corpus_without_text_is_a_data_error(scratch_job, tmp_path, report):
    table = scratch_job["scratch"] | {"sequence": 100_000}
    with pytest.raises(DataError, match="fewer than one sequence"):
        run_job(tmp_path / "run", scratch_job | {"scratch": table}, report)


@pytest.mark.parametrize("hidden", [32, 128])
def test_vectors_of_words_start_long_enough_to_stay_apart(hidden):
    """Short ones drift together in a tied embedding, see ``new_model``."""
    from tuneforge.worker.scratch import new_model, train_tokenizer

    tokenizer = train_tokenizer(["a red lamp and a green lamp"] * 3, 300)
    sizes = {"hidden": hidden, "intermediate": 64, "layers": 1, "heads": 2, "kv_heads": 2}
    model = new_model({**sizes, "context": 64}, tokenizer)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    lengths = model.get_input_embeddings().weight.norm(dim=1)
    assert 1.1 < lengths.mean().item() < 1.4
