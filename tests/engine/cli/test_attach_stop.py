"""Attaching to runs, and asking things of them, from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneforge.cli import main
from tuneforge.runs import launch, status

JOBS = Path(__file__).parent.parent / "runs"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(JOBS))
    yield tmp_path
    for path in tmp_path.glob("runs/*/*/job.json"):
        run = status(path.parent)
        if run.alive and run.worker:
            os.kill(run.worker.pid, signal.SIGKILL)


def start(workspace, name="train.a", key="k" * 16, **fields):
    run_dir = workspace / "runs" / name / key
    launch(run_dir, {"kind": "fake_jobs:count", "steps": 400, "pace": 0.02, **fields})
    end = time.monotonic() + 20
    while status(run_dir).step < 1 and status(run_dir).alive:
        assert time.monotonic() < end
        time.sleep(0.02)
    return run_dir


def call(*words):
    return main([str(word) for word in words])


def test_stop_and_attach_without_a_name_take_the_one_that_runs(workspace, capsys):
    run_dir = start(workspace)
    assert call("stop", "--workspace", workspace) == 0
    assert "train.a/kkkkkkkkkkkkkkkk: asked to stop" in capsys.readouterr().out
    assert call("attach", run_dir) == 130
    told = capsys.readouterr()
    assert "step 1/400  loss 1" in told.out
    assert "stopped at step" in told.err


def test_pause_resume_checkpoint(workspace, capsys):
    run_dir = start(workspace)
    assert call("stop", "train.a", "--workspace", workspace, "--pause") == 0
    end = time.monotonic() + 20
    while status(run_dir).state != "paused":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert call("stop", "train.a/kk", "--workspace", workspace, "--checkpoint") == 0
    assert call("stop", run_dir, "--resume") == 0
    assert call("stop", run_dir, "--resume", "--pause") == 2
    assert "exclude each other" in capsys.readouterr().err


def test_attach_tells_events_as_json_to_a_script(workspace, capsys):
    run_dir = start(workspace, steps=3, pace=0.0)
    assert call("attach", run_dir, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events] == ["started", "log", "step", "step", "step", "done"]


def test_attach_to_a_failed_run_has_its_exit_code(workspace, capsys):
    run_dir = start(workspace, kind="fake_jobs:fail", error="DataError")
    assert call("attach", run_dir) == 3
    assert "it went wrong" in capsys.readouterr().err


def test_ctrl_c_detaches_and_the_run_goes_on(workspace):
    run_dir = start(workspace)
    code = "from tuneforge.cli import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "attach", str(run_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "detached" in told
    assert status(run_dir).alive


def test_what_is_not_there_is_named(workspace, capsys):
    assert call("attach", "--workspace", workspace) == 2
    assert "nothing is running" in capsys.readouterr().err
    start(workspace, "train.a")
    start(workspace, "train.b")
    assert call("stop", "--workspace", workspace) == 2
    assert "2 runs are going on" in capsys.readouterr().err
    assert call("stop", "train.c", "--workspace", workspace) == 2
    assert "train.b/kkkk" in capsys.readouterr().err


def test_a_command_called_from_python_leaves_ctrl_c_alone(workspace):
    before = signal.getsignal(signal.SIGINT)
    run_dir = start(workspace)
    assert call("stop", run_dir) == 0
    assert call("attach", run_dir) == 130
    assert signal.getsignal(signal.SIGINT) is before
