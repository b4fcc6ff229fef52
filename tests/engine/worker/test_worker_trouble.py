"""Out of memory, divergence, and renderings that should not be trained on."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import DataError, EnvironmentMissing, TrainingFailed, UsageError

pytestmark = pytest.mark.train


@pytest.fixture
def memory_for(monkeypatch):
    """Let any forward pass of more than so many rows run out of memory."""
    tried = []

    def limit(rows, *, after=0):
        import torch
        from transformers import Trainer

        step = Trainer.training_step

        def training_step(self, model, inputs, *args, **kwargs):
            tried.append(tuple(inputs["input_ids"].shape))
            if len(tried) > after and inputs["input_ids"].shape[0] > rows:
                raise torch.OutOfMemoryError("simulated: tried to allocate 99 GiB")
            return step(self, model, inputs, *args, **kwargs)

        monkeypatch.setattr(Trainer, "training_step", training_step)
        return tried

    return limit


def test_out_of_memory_halves_the_micro_batch_and_learns_the_same(
    job, train_here, tmp_path, events, losses, memory_for
):
    made = job(args={"micro_batch": 8, "accumulate": 1, "eval_every": 3})
    train_here(made, tmp_path / "roomy")
    tried = memory_for(2)
    train_here(made, tmp_path / "tight")
    assert [(e["micro_batch"], e["accumulate"]) for e in events(tmp_path / "tight", "oom")] == [
        (4, 2),
        (2, 4),
    ]
    # the first batch tried is the worst of the data, so it fails before any step
    table = pq.read_table(f"{made['render']}/train.parquet")
    longest = max(len(row) for row in table["input_ids"].to_pylist())
    assert tried[:3] == [(8, longest), (4, longest), (2, longest)]
    roomy, tight = losses(tmp_path / "roomy"), losses(tmp_path / "tight")
    assert tight == {step: pytest.approx(loss, abs=1e-4) for step, loss in roomy.items()}


def test_out_of_memory_in_mid_run_goes_on_from_the_last_checkpoint(
    job, train_here, tmp_path, events, memory_for
):
    made = job(args={"micro_batch": 4, "max_steps": 8, "checkpoint_every": 2})
    memory_for(2, after=6)  # the trial and five steps
    train_here(made, tmp_path / "run")
    assert [e["micro_batch"] for e in events(tmp_path / "run", "oom")] == [2]
    steps = [e["step"] for e in events(tmp_path / "run", "step")]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]


def test_out_of_memory_with_one_row_is_a_failure_with_advice(job, train_here, tmp_path, memory_for):
    memory_for(0)
    with pytest.raises(TrainingFailed, match="one row at a time") as caught:
        train_here(job(args={"micro_batch": 3, "accumulate": 1}), tmp_path / "run")
    assert "max_tokens" in caught.value.fix


@pytest.mark.parametrize(("method", "quantize"), [("sft", "nf4"), ("dpo", "none")])
def test_the_trial_of_the_worst_batch_changes_nothing(
    job, train_here, tmp_path, losses, monkeypatch, method, quantize
):
    made = job(method, adapter={"dropout": 0.2}, quantize=quantize, args={"max_steps": 3})
    train_here(made, tmp_path / "with")
    from tuneforge.worker.attempt import WorstFirst

    monkeypatch.setattr(WorstFirst, "on_train_begin", lambda *_, **__: None)
    train_here(made, tmp_path / "without")
    assert losses(tmp_path / "with") == losses(tmp_path / "without")


def test_divergence_stops_with_the_last_good_checkpoint(job, train_here, tmp_path, events):
    made = job(
        args={
            "learning_rate": 1e6,
            "scheduler": "constant",
            "warmup": 0.0,
            "max_steps": 60,
            "checkpoint_every": 1,
            "max_grad_norm": 1e9,
        },
        adapter={"kind": "full"},
        quantize="none",
    )
    with pytest.raises(TrainingFailed, match=r"diverged at step \d+: the .*checkpoint-\d+") as e:
        train_here(made, tmp_path / "run")
    assert "learning_rate" in e.value.fix
    assert len(events(tmp_path / "run", "step")) < 60


def test_a_loss_that_is_not_a_number_stops_at_once(job, train_here, tmp_path, events, monkeypatch):
    import torch
    from transformers import Trainer

    step = Trainer.training_step
    calls = []

    def training_step(self, *args, **kwargs):
        calls.append(1)
        loss = step(self, *args, **kwargs)
        return torch.full_like(loss, torch.nan) if len(calls) == 4 else loss

    monkeypatch.setattr(Trainer, "training_step", training_step)
    with pytest.raises(TrainingFailed, match="step 3: the loss is nan; there is no checkpoint"):
        train_here(job(), tmp_path / "run")
    assert [e["step"] for e in events(tmp_path / "run", "step")] == [1, 2]


def spoiled(render, tmp_path, column, value):
    """Copy a rendering with one value of row 3 changed."""
    folder = tmp_path / "render"
    shutil.copytree(render, folder)
    table = pq.read_table(folder / "train.parquet")
    rows = table.to_pylist()
    rows[3][column] = value(rows[3])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "train.parquet")
    return str(folder)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("loss_mask", lambda r: [0] * len(r["loss_mask"]), "no token is supervised"),
        ("loss_mask", lambda r: [1] + [0] * (len(r["loss_mask"]) - 1), "no token is supervised"),
        ("loss_mask", lambda r: [*r["loss_mask"][:-1], 0], "never stop"),
        ("input_ids", lambda r: [*r["input_ids"][:-1], 9999], "outside the base's vocabulary"),
        ("loss_mask", lambda r: r["loss_mask"][:-1], "but a mask of"),
    ],
)
def test_a_bad_row_is_named_before_anything_loads(job, train_here, tmp_path, column, value, said):
    made = job()
    made["render"] = spoiled(made["render"], tmp_path, column, value)
    made["base"]["path"] = str(tmp_path / "base")  # only its config is there
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"vocab_size": 320}')
    with pytest.raises(DataError, match=rf"record s:3: .*{said}"):
        train_here(made, tmp_path / "run")


def test_two_beginnings_of_sequence_are_refused(job, train_here, tmp_path):
    made = job()
    folder = tmp_path / "render"
    shutil.copytree(made["render"], folder)
    facts = json.loads((folder / "rendering.json").read_text())
    (folder / "rendering.json").write_text(json.dumps(facts | {"bos": 1}))  # <|im_start|>: twice
    made["render"] = str(folder)
    with pytest.raises(DataError, match="2 beginning-of-sequence tokens instead of one"):
        train_here(made, tmp_path / "run")


def test_a_bad_pair_is_named(job, train_here, tmp_path):
    made = job("dpo")
    made["render"] = spoiled(made["render"], tmp_path, "chosen_ids", lambda r: [])
    with pytest.raises(DataError, match=r"record p:3: no token is supervised"):
        train_here(made, tmp_path / "run")


def test_a_method_refuses_another_kind_of_rendering(job, train_here, tmp_path, pairs):
    with pytest.raises(UsageError, match="sft cannot train on a preference rendering"):
        train_here(job(render=str(pairs)), tmp_path / "run")


def test_rows_longer_than_the_base_takes_are_refused(job, train_here, tmp_path):
    made = job()
    made["render"] = spoiled(
        made["render"], tmp_path, "input_ids", lambda r: [5] * 200 + r["input_ids"][-1:]
    )
    made["render"] = spoiled(
        made["render"], tmp_path / "again", "loss_mask", lambda r: [0] * 200 + [1]
    )
    with pytest.raises(DataError, match="201 tokens; the base takes 128"):
        train_here(made, tmp_path / "run")


def test_target_modules_that_match_nothing_name_what_there_is(job, train_here, tmp_path):
    made = job(adapter={"target_modules": ["query"]})
    with pytest.raises(UsageError, match="matches no module") as caught:
        train_here(made, tmp_path / "run")
    assert "q_proj" in caught.value.fix


def test_a_gpu_job_on_a_torch_without_cuda_says_so(job, train_here, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this torch has CUDA")
    with pytest.raises(EnvironmentMissing, match="has no CUDA"):
        train_here(job(device="cuda"), tmp_path / "run")
