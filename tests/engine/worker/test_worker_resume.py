"""A run that goes on computes what an uninterrupted one would have computed, bit for bit."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tuneforge_specs.errors import Interrupted, TrainingFailed, UsageError

from tuneforge.runs import launch, read_events, request, run_job, status
from tuneforge.runs.follow import follow

pytestmark = pytest.mark.train

EXACT = {"max_steps": 9, "checkpoint_every": 2, "micro_batch": 2, "eval_every": 3}


def same_files(one: Path, two: Path) -> None:
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.fixture
def killed_here(job, train_here, monkeypatch):
    """Run a job in this process up to a step, and drop it there as a kill would."""

    class Killed(BaseException):
        pass

    def run(made, run_dir, step):
        from tuneforge.worker.run import WorkerRun

        emit = WorkerRun.emit

        def emit_and_die(self, event, **fields):
            emit(self, event, **fields)
            if event == "step" and fields["step"] == step:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(WorkerRun, "emit", emit_and_die)
            with pytest.raises(Killed):
                train_here(made, run_dir)

    return run


@pytest.mark.parametrize(
    ("method", "adapter", "args", "quantize"),
    [
        ("sft", {"dropout": 0.1}, {}, "nf4"),
        ("sft", {"dropout": 0.1}, {"packing": True, "epochs": 5.0, "max_steps": 0}, "nf4"),
        ("sft", {"dropout": 0.2}, {"gradient_checkpointing": True, "accumulate": 2}, "none"),
        ("sft", {"kind": "full"}, {"optimizer": "adamw_8bit", "learning_rate": 1e-3}, "none"),
        ("dpo", {}, {}, "nf4"),
        ("dpo", {"kind": "full"}, {"learning_rate": 1e-3}, "none"),
    ],
)
def test_losses_and_weights_after_a_kill_are_those_of_an_uninterrupted_run(
    job, train_here, killed_here, tmp_path, losses, events, method, adapter, args, quantize
):
    made = job(method, adapter=adapter, args=EXACT | args, quantize=quantize)
    whole = train_here(made, tmp_path / "whole")
    killed_here(made, tmp_path / "killed", 5)
    resumed = train_here(made, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    steps = [e["step"] for e in events(tmp_path / "killed", "step")]
    assert steps[:6] == [1, 2, 3, 4, 5, 5]  # on from the checkpoint of step 4
    evaluated = {e["step"]: e["loss"] for e in events(tmp_path / "killed", "eval")}
    assert evaluated == {e["step"]: e["loss"] for e in events(tmp_path / "whole", "eval")}
    tokens = [e["tokens"] for e in events(tmp_path / "killed", "step")]
    assert tokens[-1] == events(tmp_path / "whole", "step")[-1]["tokens"]
    same_files(whole, resumed)


def test_dpo_from_a_start_resumes_the_policy_and_not_its_reference(
    job, train_here, killed_here, tmp_path, losses
):
    start = train_here(job(args={"max_steps": 4}), tmp_path / "start") / "adapter"
    made = job("dpo", start={"path": str(start), "digest": "s"}, args=EXACT)
    whole = train_here(made, tmp_path / "whole")
    killed_here(made, tmp_path / "killed", 5)
    resumed = train_here(made, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    same_files(whole, resumed)


def test_killed_after_the_last_step_it_only_writes_the_result(
    job, train_here, killed_here, tmp_path, events, monkeypatch
):
    from tuneforge.worker import result

    made = job(args=EXACT | {"max_steps": 4, "eval_every": 0})
    whole = train_here(made, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(result, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_here(made, tmp_path / "killed")
    again = train_here(made, tmp_path / "killed")
    assert [e["step"] for e in events(tmp_path / "killed", "step")] == [1, 2, 3, 4]
    same_files(whole, again)


def test_kill_9_of_the_worker_process(job, tmp_path, report, train_here, monkeypatch):
    made = job(adapter={"dropout": 0.1}, args=EXACT)
    whole = train_here(made, tmp_path / "whole")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    run_dir = tmp_path / "killed"
    launch(run_dir, made | {"kind": "killing_jobs:train", "die_at": 5})
    with pytest.raises(TrainingFailed, match="killed"):
        follow(run_dir, report)
    assert status(run_dir).state == "died"
    same_files(whole, run_job(run_dir, made, report).output)


def test_stop_makes_a_checkpoint_and_the_next_launch_goes_on(
    job, tmp_path, report, train_here, losses
):
    # long enough that the request arrives in time
    made = job(args={"max_steps": 150})
    run_dir = tmp_path / "run"
    launch(run_dir, made)
    follow_until(run_dir, 3)
    request(run_dir, "pause")
    threading.Timer(0.5, request, (run_dir, "stop")).start()
    with pytest.raises(Interrupted):
        follow(run_dir, report)
    stopped = read_events(run_dir / "events.jsonl")[-1]
    assert stopped["event"] == "stopped"
    assert Path(stopped["checkpoint"], "complete.json").is_file()
    assert "paused" in [e["event"] for e in read_events(run_dir / "events.jsonl")]
    made_here = train_here(made, tmp_path / "whole")
    same_files(made_here, run_job(run_dir, made, report).output)


def follow_until(run_dir, step):
    end = time.monotonic() + 60
    while status(run_dir).step < step:
        assert time.monotonic() < end
        assert status(run_dir).alive
        time.sleep(0.02)


def test_another_job_may_not_go_on_from_a_checkpoint(job, train_here, killed_here, tmp_path):
    made = job(args=EXACT)
    killed_here(made, tmp_path / "run", 5)
    other = job(args=EXACT | {"learning_rate": 3e-3})
    with pytest.raises(UsageError, match=r"args.learning_rate: 0.01 then, 0.003 now"):
        train_here(other, tmp_path / "run")
    # how often it is saved may change
    train_here(job(args=EXACT | {"checkpoint_every": 3}), tmp_path / "run")


def test_an_unfinished_checkpoint_is_passed_over(job, train_here, killed_here, tmp_path, events):
    made = job(args=EXACT)
    killed_here(made, tmp_path / "run", 5)
    newest = tmp_path / "run" / "checkpoints" / "checkpoint-4"
    (newest / "complete.json").unlink()
    train_here(made, tmp_path / "run")
    steps = [e["step"] for e in events(tmp_path / "run", "step")]
    assert steps[:7] == [1, 2, 3, 4, 5, 3, 4]


def test_by_default_a_short_run_is_not_saved_and_a_long_one_by_the_clock(
    job, train_here, killed_here, tmp_path, monkeypatch, events, losses
):
    from tuneforge.worker import callback

    made = job(args=EXACT | {"checkpoint_every": "auto"})
    whole = train_here(made, tmp_path / "whole")
    assert not events(tmp_path / "whole", "checkpoint")
    monkeypatch.setattr(callback, "AUTO_SECONDS", 0.0)
    monkeypatch.setattr(callback, "SHARE", 0)
    killed_here(made, tmp_path / "run", 5)
    assert [e["step"] for e in events(tmp_path / "run", "checkpoint")] == [1, 2, 3, 4]
    same_files(whole, train_here(made, tmp_path / "run"))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_the_clock_leaves_saving_a_twentieth_of_the_time(job, tmp_path, monkeypatch):
    from tuneforge.worker import WorkerRun, callback

    now = [0.0]
    monkeypatch.setattr(callback, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = job(args={"checkpoint_every": "auto"})
    watched = callback.RunCallback(WorkerRun(tmp_path), made, {})
    arguments = SimpleNamespace(output_dir=str(tmp_path / "checkpoints"))
    watched.on_train_begin(arguments, None, None)
    saved = []
    for step in range(1, 1001):
        now[0] += 10
        state = SimpleNamespace(global_step=step, max_steps=1000)
        control = SimpleNamespace(should_save=False)
        watched.on_step_end(arguments, state, control)
        if control.should_save:
            saved.append(step)
            now[0] += 5 if len(saved) < 3 else 60
            (tmp_path / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
            watched.on_save(arguments, state, control)
    # Every ten minutes, then, as saving takes a minute, every twenty; the end is written anyway.
    assert saved == [60, 120, 180, 300, 420, 540, 660, 780, 900]


def test_only_so_many_checkpoints_are_kept(job, train_here, tmp_path):
    train_here(job(args=EXACT | {"keep_checkpoints": 1}), tmp_path / "one")
    assert [p.name for p in (tmp_path / "one" / "checkpoints").glob("checkpoint-*")] == [
        "checkpoint-9"
    ]
    marker = tmp_path / "one" / "checkpoints" / "checkpoint-9" / "complete.json"
    assert json.loads(marker.read_text())["max_steps"] == 9
