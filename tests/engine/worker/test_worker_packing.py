"""Packing must not let one row see another, nor change what is learned from it."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.train


@pytest.fixture
def attempt(job, tmp_path):
    """Build an attempt for a job without training it."""

    def make(name, **args):
        from tuneforge.worker import WorkerRun
        from tuneforge.worker.attempt import Attempt

        made = job(args=args)
        rendering = json.loads(Path(made["render"], "rendering.json").read_text())
        run = tmp_path / name
        run.mkdir()
        facts = {"micro_batch": args["micro_batch"]}
        return Attempt(made, WorkerRun(run), rendering, facts, 1)

    return make


def gradients(made, batches):
    """Give the token-weighted loss and its gradients over batches, in eval mode (no dropout)."""
    import torch

    made.model.eval()
    made.model.zero_grad()
    torch.manual_seed(0)
    items = sum(int((b["labels"][:, 1:] != -100).sum()) for b in batches)
    total = 0.0
    for batch in batches:
        loss = made.trainer.compute_loss(
            made.model, dict(batch), num_items_in_batch=torch.tensor(items)
        )
        loss.backward()
        total += loss.item()
    return total, {n: p.grad.clone() for n, p in made.model.named_parameters() if p.requires_grad}


def test_packed_rows_give_the_loss_and_gradients_of_single_rows(attempt):
    packed = attempt("packed", packing=True, micro_batch=2)
    single = attempt("single", packing=False, micro_batch=1)
    assert len(packed.trainer.train_dataset) < len(single.trainer.train_dataset) / 2
    # B starts at zero, where A gets no gradient: give both models the same B
    import torch

    for made in (packed, single):
        torch.manual_seed(1)
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.2)
    ours = [packed.trainer.data_collator([packed.trainer.train_dataset[i] for i in (0, 1)])]
    ours += [packed.trainer.data_collator([row]) for row in list(packed.trainer.train_dataset)[2:]]
    assert (ours[0]["position_ids"] == 0).sum() > 4  # several rows in one sequence
    theirs = [single.trainer.data_collator([row]) for row in single.trainer.train_dataset]
    (loss, grads), (loss_of_single, grads_of_single) = (
        gradients(packed, ours),
        gradients(single, theirs),
    )
    assert loss == pytest.approx(loss_of_single, rel=1e-5)
    for name, gradient in grads.items():
        difference = (gradient - grads_of_single[name]).norm()
        assert difference < 1e-4 * gradient.norm() + 1e-8, name


def test_a_row_of_a_pack_does_not_see_its_neighbour(attempt):
    import torch

    made = attempt("packed", packing=True, micro_batch=1)
    made.model.eval()
    batch = made.trainer.data_collator([made.trainer.train_dataset[0]])
    starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    assert len(starts) > 1
    batch.pop("labels")
    with torch.no_grad():
        before = made.model(**batch, use_cache=False).logits
        batch["input_ids"][0, : starts[1]] = 7
        after = made.model(**batch, use_cache=False).logits
    assert (before[0, : starts[1]] - after[0, : starts[1]]).abs().max() > 1e-2
    assert (before[0, starts[1] :] - after[0, starts[1] :]).abs().max() < 1e-5


def test_packing_keeps_every_row_whole(attempt):
    packed = attempt("packed", packing=True, micro_batch=1)
    single = attempt("single", packing=False, micro_batch=1)
    rows = []
    for row in packed.trainer.train_dataset:
        start = 0
        for length in row["seq_lengths"]:
            end = start + length
            rows.append((row["input_ids"][start:end], row["labels"][start:end]))
            start = end
    assert sorted(rows) == sorted(
        (row["input_ids"], row["labels"]) for row in single.trainer.train_dataset
    )
    assert max(len(row["input_ids"]) for row in packed.trainer.train_dataset) <= 128
