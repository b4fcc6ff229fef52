"""Every key of ``args``, ``adapter`` and ``loss`` reaches the trainer or changes what it does."""

import json
from pathlib import Path

import pytest
from tuneforge_specs.train import Args, DpoLoss, LoraAdapter

pytestmark = pytest.mark.train


@pytest.fixture
def attempt(job, tmp_path):
    """Build an attempt for a job without training it."""
    made = []

    def make(method="sft", **fields):
        from tuneforge.worker import WorkerRun
        from tuneforge.worker.attempt import Attempt

        described = job(method, **fields)
        rendering = json.loads(Path(described["render"], "rendering.json").read_text())
        run = tmp_path / str(len(made))
        run.mkdir()
        facts = {"micro_batch": described["args"]["micro_batch"]}
        args = described["args"]
        made.append(Attempt(described, WorkerRun(run), rendering, facts, args["accumulate"]))
        return made[-1]

    return make


MAPPED = {
    "epochs": (2.5, "num_train_epochs", 2.5),
    "max_steps": (7, "max_steps", 7),
    "learning_rate": (3e-4, "learning_rate", 3e-4),
    "scheduler": ("linear", "lr_scheduler_type", "linear"),
    "warmup": (0.25, "warmup_steps", 0.25),
    "weight_decay": (0.3, "weight_decay", 0.3),
    "max_grad_norm": (0.7, "max_grad_norm", 0.7),
    "micro_batch": (3, "per_device_train_batch_size", 3),
    "accumulate": (5, "gradient_accumulation_steps", 5),
    "packing": (True, "packing", True),
    "optimizer": ("adamw_8bit", "optim", "adamw_bnb_8bit"),
    "gradient_checkpointing": (True, "gradient_checkpointing", True),
    "eval_every": (4, "eval_steps", 4),
    "checkpoint_every": (6, "save_steps", 6),
}


def test_every_argument_reaches_the_trainer(attempt):
    # keep_checkpoints is ours alone: test_worker_resume.py
    assert set(MAPPED) | {"keep_checkpoints"} == set(Args.model_fields)
    arguments = attempt(args={key: value for key, (value, _, _) in MAPPED.items()}).trainer.args
    for _, name, expected in MAPPED.values():
        assert getattr(arguments, name) == expected, name
    assert (arguments.eval_strategy, arguments.save_strategy) == ("steps", "steps")
    plain = attempt(args={"max_steps": 0}).trainer.args
    assert (plain.eval_strategy, plain.save_strategy, plain.max_steps) == ("no", "no", -1)
    never = attempt(args={"checkpoint_every": 0}).trainer.args
    assert never.save_strategy == "no"


def rates(events, run_dir):
    return [e["learning_rate"] for e in events(run_dir, "step")]


@pytest.mark.parametrize(
    ("scheduler", "warmup", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("constant", 0.5, [0, 0.5, 1, 1]),
        ("linear", 0.0, [1, 0.75, 0.5, 0.25]),
        ("cosine", 0.0, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_learning_rate_follows_the_schedule(
    job, train_here, tmp_path, events, scheduler, warmup, expected
):
    args = {"scheduler": scheduler, "warmup": warmup, "max_steps": 4, "learning_rate": 0.01}
    train_here(job(args=args), tmp_path / "run")
    assert rates(events, tmp_path / "run") == pytest.approx([0.01 * e for e in expected], rel=1e-4)


def test_epochs_decide_the_steps_and_one_step_sees_micro_batch_times_accumulate_rows(
    job, train_here, tmp_path, events
):
    args = {"max_steps": 0, "epochs": 2.0, "micro_batch": 2, "accumulate": 3}
    train_here(job(args=args), tmp_path / "run")
    assert len(events(tmp_path / "run", "step")) == 2 * 24 // 6


def test_the_clip_and_the_decay_change_the_weights(job, train_here, tmp_path):
    from safetensors.torch import load_file

    def trained(name, **args):
        output = train_here(job(args=args), tmp_path / name)
        return load_file(output / "adapter" / "adapter_model.safetensors")

    plain = trained("plain")
    for key, value in (("max_grad_norm", 1e-3), ("weight_decay", 5.0), ("optimizer", "adamw_8bit")):
        other = trained(key, **{key: value})
        assert any(not tensor.equal(other[name]) for name, tensor in plain.items()), key


def test_checkpointing_activations_changes_nothing_but_memory(job, train_here, tmp_path, losses):
    for checkpointing in (False, True):
        train_here(
            job(args={"gradient_checkpointing": checkpointing}, adapter={"dropout": 0.1}),
            tmp_path / str(checkpointing),
        )
    plain, checkpointed = (losses(tmp_path / name) for name in ("False", "True"))
    assert checkpointed == {step: pytest.approx(loss, abs=1e-5) for step, loss in plain.items()}


def test_every_key_of_an_adapter_reaches_peft(attempt):
    adapter = {
        "r": 3,
        "alpha": 5.0,
        "dropout": 0.25,
        "target_modules": ["q_proj", "up_proj"],
        "rslora": True,
        "dora": True,
    }
    assert set(adapter) | {"kind"} == set(LoraAdapter.model_fields)
    model = attempt(adapter=adapter, quantize="none").model
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 5.0, 0.25)
    assert (config.use_rslora, config.use_dora) == (True, True)
    assert config.target_modules == {"q_proj", "up_proj"}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 2 * 3  # layers x modules x (A, B, magnitude)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == pytest.approx(5 / 3**0.5)


def test_a_pattern_may_name_the_modules(attempt):
    model = attempt(adapter={"target_modules": r".*layers\.1\..*_proj"}).model
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".layers.1." in name for name in trained)


def test_all_linear_leaves_the_output_embedding_alone(attempt):
    trained = {n for n, p in attempt().model.named_parameters() if p.requires_grad}
    assert {name.split(".")[-4] for name in trained} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }


def test_every_key_of_the_dpo_loss_reaches_the_trainer(attempt):
    loss = {"type": "robust", "beta": 0.7, "label_smoothing": 0.2}
    assert set(loss) == set(DpoLoss.model_fields)
    trainer = attempt("dpo", loss=loss).trainer
    assert (trainer.loss_types, trainer.beta, trainer.label_smoothing) == (["robust"], 0.7, 0.2)


@pytest.mark.parametrize(
    ("kind", "first"),
    [("sigmoid", 0.693147), ("hinge", 1.0), ("ipo", 25.0), ("robust", 0.693147)],
)
def test_each_dpo_loss_has_its_value_where_policy_and_reference_agree(
    job, train_here, tmp_path, events, kind, first
):
    made = job("dpo", loss={"type": kind, "beta": 0.1}, args={"max_steps": 2})
    train_here(made, tmp_path / "run")
    assert events(tmp_path / "run", "step")[0]["loss"] == pytest.approx(first, rel=1e-4)


def test_a_continued_adapter_may_change_its_dropout(job, train_here, tmp_path, attempt):
    start = train_here(job(args={"max_steps": 1}), tmp_path / "start") / "adapter"
    made = attempt(start={"path": str(start), "digest": "s"}, adapter={"dropout": 0.3})
    layer = made.model.base_model.model.model.layers[0].self_attn.q_proj
    assert layer.lora_dropout["default"].p == 0.3


def test_bfloat16_computes_in_bfloat16_and_keeps_the_adapter_in_float32(attempt, job):
    described = job()["base"] | {"dtype": "bfloat16"}
    made = attempt(base=described)
    assert str(made.model.base_model.model.model.embed_tokens.weight.dtype) == "torch.bfloat16"
    assert {p.dtype.itemsize for p in made.model.parameters() if p.requires_grad} == {4}
