"""A run from launch to its last event."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.errors import (
    DataError,
    EnvironmentMissing,
    Interrupted,
    TrainingFailed,
    TuneforgeError,
    UsageError,
)

from tuneforge.runs import follow, launch, read_events, request, status
from tuneforge.runs.folder import RunFolder


def job(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": f"fake_jobs:{name}", **fields}


def until(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def test_a_job_runs_to_its_end_and_reports(run_dir, recorder):
    launch(run_dir, job("count", steps=3))
    report = recorder()
    outcome = follow(run_dir, report)
    assert (outcome.output / "n").read_text() == "3"
    assert outcome.summary["counted"] == 3
    assert report.of("progress") == [(1, 3, "step"), (2, 3, "step"), (3, 3, "step")]
    assert report.of("metrics")[0] == {"loss": 1.0}
    assert status(run_dir).state == "done"
    assert not status(run_dir).alive


def test_a_done_run_is_not_started_again_but_another_job_is(run_dir, recorder):
    launch(run_dir, job("count", steps=2))
    follow(run_dir, recorder())
    pid = status(run_dir).worker.pid
    launch(run_dir, job("count", steps=2))
    assert follow(run_dir, recorder()).summary["counted"] == 2
    assert status(run_dir).worker.pid == pid
    launch(run_dir, job("count", steps=4))
    assert follow(run_dir, recorder()).summary["counted"] == 4


def test_two_followers_see_the_same_run(run_dir, recorder):
    launch(run_dir, job("count", steps=5, pace=0.05))
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda _: follow(run_dir, recorder()), range(2)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [("DataError", DataError), ("TrainingFailed", TrainingFailed), ("Interrupted", Interrupted)],
)
def test_errors_come_back_whole(run_dir, recorder, error, kind):
    launch(run_dir, job("fail", error=error))
    with pytest.raises(kind) as caught:
        follow(run_dir, recorder())
    assert (caught.value.message, caught.value.fix) == ("it went wrong", "do it right")
    assert status(run_dir).state == "failed"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("bug", TuneforgeError, "KeyError"),
        ("full_disk", EnvironmentMissing, "no space left"),
        ("missing_package", EnvironmentMissing, "no_such_package"),
    ],
)
def test_other_exceptions_are_translated(run_dir, recorder, name, kind, said):
    launch(run_dir, job(name))
    with pytest.raises(kind, match=said) as caught:
        follow(run_dir, recorder())
    assert type(caught.value) is kind
    assert "Traceback" in (run_dir / "worker.log").read_text()
    assert "Traceback" not in str(caught.value)


def test_libraries_tell_a_full_disk_in_their_own_ways(run_dir):
    from tuneforge.worker.__main__ import translate

    in_words = RuntimeError("I/O error: No space left on device (os error 28)")
    after = RuntimeError("PytorchStreamWriter failed writing file")
    after.__context__ = OSError(28, "No space left on device")
    for error in (in_words, after):
        assert type(translate(error, RunFolder(run_dir))) is EnvironmentMissing
    assert type(translate(RuntimeError("else"), RunFolder(run_dir))) is TuneforgeError


def test_a_killed_worker_is_reported_and_the_next_launch_goes_on(run_dir, recorder):
    launch(run_dir, job("count", steps=4, die_at=2))
    with pytest.raises(TrainingFailed, match=r"died without a word \(killed"):
        follow(run_dir, recorder())
    assert status(run_dir).state == "died"
    launch(run_dir, job("count", steps=4, die_at=2))
    report = recorder()
    follow(run_dir, report)
    assert report.of("log")[-1] == "from 2"
    assert [done for done, _, _ in report.of("progress")] == [3, 4]


def test_a_worker_that_cannot_start_shows_the_end_of_its_log(run_dir, recorder, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    launch(run_dir, job("count", steps=1))
    with pytest.raises(TrainingFailed, match="exit 1"):
        follow(run_dir, recorder())


def test_a_failed_run_starts_again_at_once(run_dir, recorder):
    for _ in range(2):
        launch(run_dir, job("fail", error="DataError"))
        with pytest.raises(DataError):
            follow(run_dir, recorder())
    starts = [e for e in read_events(run_dir / "events.jsonl") if e["event"] == "started"]
    assert len(starts) == 2


def test_stop_and_continue(run_dir, recorder):
    launch(run_dir, job("count", steps=200, pace=0.05))
    until(lambda: status(run_dir).step >= 2)
    request(run_dir, "stop")
    with pytest.raises(Interrupted, match="stopped at step"):
        follow(run_dir, recorder())
    stopped = status(run_dir)
    assert stopped.state == "stopped"
    launch(run_dir, job("count", steps=200, pace=0.05))
    until(lambda: status(run_dir).step > stopped.step)
    os.kill(status(run_dir).worker.pid, signal.SIGTERM)
    with pytest.raises(Interrupted):
        follow(run_dir, recorder())


def test_pause_resume_and_checkpoint(run_dir, recorder):
    launch(run_dir, job("count", steps=1000, pace=0.02))
    until(lambda: status(run_dir).step >= 1)
    request(run_dir, "pause")
    until(lambda: status(run_dir).state == "paused")
    step = status(run_dir).step
    time.sleep(0.3)
    assert status(run_dir).step == step
    request(run_dir, "checkpoint")
    request(run_dir, "resume")
    until(lambda: status(run_dir).step > step)
    request(run_dir, "pause")
    until(lambda: status(run_dir).state == "paused")
    request(run_dir, "stop")  # a paused worker hears it too
    with pytest.raises(Interrupted):
        follow(run_dir, recorder())
    assert "checkpoint" in [e["event"] for e in read_events(run_dir / "events.jsonl")]


def test_a_request_to_a_run_without_worker_is_refused(run_dir, recorder):
    launch(run_dir, job("count", steps=1))
    follow(run_dir, recorder())
    until(lambda: not RunFolder(run_dir).alive())
    with pytest.raises(UsageError, match="no worker"):
        request(run_dir, "stop")


def test_ctrl_c_stops_the_worker_and_waits_for_it(run_dir, recorder):
    launch(run_dir, job("count", steps=500, pace=0.02))

    def interrupt(done: float) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped at step"):
        follow(run_dir, recorder(interrupt))
    assert status(run_dir).state == "stopped"


def test_a_second_ctrl_c_leaves_the_worker_alone(run_dir, recorder):
    launch(run_dir, job("count", steps=500, pace=0.02))
    with pytest.raises(Interrupted):
        follow(run_dir, recorder(lambda done: signal.raise_signal(signal.SIGINT)))
    until(lambda: not status(run_dir).alive)


def test_launchers_together_start_one_worker(run_dir, tmp_path):
    starts = tmp_path / "starts"
    barrier = threading.Barrier(4)

    def start(_: int) -> None:
        barrier.wait()
        launch(run_dir, job("slow_start", starts=str(starts)))

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, range(4)))
    until(lambda: status(run_dir).state == "done")
    assert len(starts.read_text().splitlines()) == 1


def test_another_job_is_refused_while_a_worker_lives(run_dir, recorder):
    launch(run_dir, job("count", steps=500, pace=0.02))
    with pytest.raises(UsageError, match="another job"):
        launch(run_dir, job("count", steps=9))
    request(run_dir, "stop")
    with pytest.raises(Interrupted):
        follow(run_dir, recorder())


def test_a_reused_pid_is_not_taken_for_ours(run_dir, recorder):
    launch(run_dir, job("count", steps=2, die_at=1))
    with pytest.raises(TrainingFailed):
        follow(run_dir, recorder())
    folder = RunFolder(run_dir)
    text = folder.worker.read_text().replace(str(folder.read_worker().pid), str(os.getpid()))
    folder.worker.write_text(text)
    assert folder.read_worker().pid == os.getpid()
    assert status(run_dir).state == "died"
    launch(run_dir, job("count", steps=2, die_at=1))
    assert follow(run_dir, recorder()).summary["counted"] == 2


def test_the_worker_outlives_its_launcher(run_dir, recorder, tmp_path):
    script = tmp_path / "launch.py"
    script.write_text(
        "import os, pathlib, signal, sys\n"
        "from tuneforge.runs import launch\n"
        f"launch(pathlib.Path({str(run_dir)!r}), {job('count', steps=20, pace=0.02)!r})\n"
        "os.killpg(0, signal.SIGHUP)\n"
    )
    ended = subprocess.run([sys.executable, script], start_new_session=True, check=False)
    assert ended.returncode == -signal.SIGHUP
    assert follow(run_dir, recorder()).summary["counted"] == 20


def test_a_folder_that_cannot_be_made_is_an_environment_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentMissing, match="cannot be started"):
        launch(tmp_path / "file" / "run", job("count", steps=1))


def test_nothing_here_imports_torch():
    code = "import sys, tuneforge.runs, tuneforge.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
