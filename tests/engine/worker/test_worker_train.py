"""Fine-tuning, one method and adapter after another."""

import json
import math
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.train

LN2 = math.log(2)


def adapter_tensors(output):
    from safetensors.torch import load_file

    return load_file(output / "adapter" / "adapter_model.safetensors")


def test_sft_with_lora_on_nf4(job, train_here, tmp_path, losses, events, base):
    output = train_here(
        job(args={"eval_every": 3, "max_steps": 12, "learning_rate": 2e-2}), tmp_path / "run"
    )
    seen = losses(tmp_path / "run")
    assert list(seen) == list(range(1, 13))
    assert seen[12] < seen[1] - 0.3
    assert [e["step"] for e in events(tmp_path / "run", "eval")] == [3, 6, 9, 12]
    config = json.loads((output / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-base"
    assert config["target_modules"] == sorted(config["target_modules"])
    facts = json.loads((output / "training.json").read_text())
    assert facts["base"] == {
        "id": "tiny-base",
        "digest": "d" * 64,
        "quantize": "nf4",
        "dtype": "float32",
    }
    assert facts["steps"] == 12
    assert facts["metrics"]["eval_loss"] == pytest.approx(
        events(tmp_path / "run", "eval")[-1]["loss"], abs=1e-6
    )
    tensors = adapter_tensors(output)
    assert all(t.dtype.is_floating_point and t.element_size() == 4 for t in tensors.values())
    assert {name.rsplit(".", 2)[-2] for name in tensors} == {"lora_A", "lora_B"}
    assert (output / "adapter" / "chat_template.jinja").read_text().startswith("{% for m in")
    assert (output / "adapter" / "tokenizer.json").is_file()
    assert not (output / "adapter" / "README.md").exists()


@pytest.mark.parametrize("packing", [False, True])
def test_the_loss_of_held_out_rows_is_that_of_an_evaluation(job, tmp_path, packing):
    """Batches of unlike numbers of supervised tokens: every token counts the same."""
    from tuneforge.worker import WorkerRun, generate
    from tuneforge.worker.attempt import Attempt

    described = job(args={"micro_batch": 2, "packing": packing})
    (tmp_path / "run").mkdir()
    rendering = json.loads(Path(described["render"], "rendering.json").read_text())
    made = Attempt(described, WorkerRun(tmp_path / "run"), rendering, {"micro_batch": 2}, 1)
    told = made.evaluate()["eval_loss"]
    rows = generate.read(Path(described["render"], "eval.parquet"), 0)
    lengths = [sum(mask) for mask in rows.loss_mask]
    assert len(lengths) == 5
    assert len(set(lengths)) > 1
    model = made.model.eval()
    assert told == pytest.approx(generate.loss(model, rows, 5, 0, lambda _: None), rel=1e-5)


def test_plain_text_is_trained_whole(job, train_here, tmp_path, base, losses):
    """Text has no turns, so nothing need end one; every token counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "render"
    shutil.copytree(job()["render"], folder)
    for name in ("train", "eval"):
        table = pq.read_table(folder / f"{name}.parquet")
        rows = [
            row | {"input_ids": row["input_ids"][:-1], "loss_mask": [1] * (row["n_tokens"] - 1)}
            for row in table.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / f"{name}.parquet")
    facts = json.loads((folder / "rendering.json").read_text())
    (folder / "rendering.json").write_text(
        json.dumps(facts | {"mode": "text", "terminators": [], "chat_template": ""})
    )
    output = train_here(job(render=str(folder)), tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 6
    assert not (output / "adapter" / "chat_template.jinja").exists()


def test_equal_jobs_give_equal_bytes(job, train_here, tmp_path):
    one, two = (train_here(job(), tmp_path / name) for name in ("one", "two"))
    for path in sorted(one.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (two / path.relative_to(one)).read_bytes(), path


def test_full_fine_tuning_moves_every_weight_and_keeps_the_special_tokens(
    job, train_here, tmp_path, base
):
    from safetensors.torch import load_file

    output = train_here(
        job(adapter={"kind": "full"}, quantize="none", args={"learning_rate": 1e-3}),
        tmp_path / "run",
    )
    before = load_file(base / "model.safetensors")
    after = load_file(output / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert not any(before[name].equal(after[name]) for name in before)
    for name in ("config.json", "generation_config.json"):
        told, kept = (json.loads((f / name).read_text()) for f in (output / "model", base))
        assert {k: v for k, v in told.items() if "token_id" in k} == {
            k: v for k, v in kept.items() if "token_id" in k
        }


@pytest.fixture(scope="module")
def sft_start(job, tmp_path_factory, base):
    from tuneforge.worker import WorkerRun, work_of

    run_dir = tmp_path_factory.mktemp("start") / "run"
    for name in ("output", "checkpoints"):
        (run_dir / name).mkdir(parents=True)
    work_of("train")(job(args={"max_steps": 10, "learning_rate": 3e-2}), WorkerRun(run_dir))
    return {"path": str(run_dir / "output" / "adapter"), "digest": "s" * 64}


def test_dpo_starts_from_the_adapter_and_takes_it_as_reference(
    job, train_here, tmp_path, events, sft_start, losses
):
    output = train_here(
        job("dpo", start=sft_start, args={"max_steps": 8, "eval_every": 4}), tmp_path / "run"
    )
    steps = events(tmp_path / "run", "step")
    # policy and reference are the same at first: -log sigmoid(0)
    assert steps[0]["loss"] == pytest.approx(LN2, abs=1e-6)
    assert steps[0]["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert steps[-1]["loss"] < LN2 - 0.05
    assert steps[-1]["rewards/accuracies"] > 0.5
    # the result continues the start: it is the start moved a little, not a new adapter
    from safetensors.torch import load_file

    from_start = load_file(f"{sft_start['path']}/adapter_model.safetensors")
    after = adapter_tensors(output)
    assert from_start.keys() == after.keys()
    assert not (output / "adapter" / "ref").exists()
    for name, tensor in after.items():
        assert not tensor.equal(from_start[name])
        if "lora_B" in name:
            assert from_start[name].abs().max() > 0
            assert (tensor - from_start[name]).norm() < 2 * from_start[name].norm() + 1


def test_the_reference_is_the_start_and_not_the_bare_base(job, tmp_path, sft_start):
    """Reference log-probabilities, computed here from the two candidate models, decide it."""
    import torch

    from tuneforge.worker import WorkerRun
    from tuneforge.worker.attempt import Attempt

    run = tmp_path / "run"
    run.mkdir()
    render = job("dpo")["render"]
    rendering = json.loads(Path(render, "rendering.json").read_text())
    made = Attempt(job("dpo", start=sft_start), WorkerRun(run), rendering, {"micro_batch": 2}, 1)
    rows = [made.trainer.train_dataset[i] for i in range(2)]
    batch = made.trainer.data_collator(rows)
    # our own ids reach the model untouched
    ids = rows[0]["prompt_ids"] + rows[0]["chosen_ids"]
    assert batch["input_ids"][0][: len(ids)].tolist() == ids
    given, _ = made.trainer.compute_ref_log_probs(made.model, batch)

    def chosen_logps() -> torch.Tensor:
        with torch.no_grad():
            logits = made.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits.log_softmax(-1)
        picked = logits[:, :-1].gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
        return (picked * batch["completion_mask"][:, 1:]).sum(1)[:2]

    made.model.eval()
    start = chosen_logps()
    with made.model.disable_adapter():
        bare = chosen_logps()
    assert given.tolist() == pytest.approx(start.tolist(), abs=1e-4)
    assert (start - bare).abs().max() > 0.1


@pytest.mark.parametrize(
    ("adapter", "quantize"), [({}, "none"), ({"kind": "full"}, "none"), ({"dora": True}, "nf4")]
)
def test_dpo_from_the_base_starts_at_ln_2(job, train_here, tmp_path, events, adapter, quantize):
    train_here(
        job("dpo", adapter=adapter, quantize=quantize, args={"max_steps": 3}), tmp_path / "run"
    )
    assert events(tmp_path / "run", "step")[0]["loss"] == pytest.approx(LN2, abs=1e-5)


def test_gradients_survive_an_evaluation_on_nf4(job, tmp_path, monkeypatch):
    """Forward in eval mode, then in train mode: every adapter weight must still get a gradient."""
    import torch

    from tuneforge.worker import WorkerRun
    from tuneforge.worker.attempt import Attempt

    run = tmp_path / "run"
    run.mkdir()
    rendering = json.loads(Path(job()["render"], "rendering.json").read_text())
    made = Attempt(job(), WorkerRun(run), rendering, {"micro_batch": 2}, 1)
    batch = made.trainer.data_collator([made.trainer.train_dataset[i] for i in range(2)])

    def gradients() -> dict[str, torch.Tensor]:
        made.model.train()
        made.model.zero_grad()
        made.model(**batch).loss.backward()
        return {n: p.grad.clone() for n, p in made.model.named_parameters() if p.requires_grad}

    before = gradients()
    made.model.eval()
    with torch.no_grad():
        made.model(**batch)
    after = gradients()
    assert before
    for name, gradient in before.items():
        assert gradient.equal(after[name]), name
    assert any(g.abs().sum() > 0 for n, g in after.items() if ".layers.0." in n)
