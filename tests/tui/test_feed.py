import fcntl
import json
import os
from pathlib import Path
from typing import Any

from tuneforge_tui.feed import Feed, predicted_bytes

from tuneforge.workspace import Workspace


def append(path: Path, **fields: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"v": 1, "t": 1.0, **fields}) + "\n")


def test_an_empty_workspace_says_nothing(tmp_path: Path) -> None:
    assert not Feed(Workspace(tmp_path)).poll()


def test_a_build_and_the_run_of_its_current_step_are_followed(tmp_path: Path) -> None:
    feed = Feed(Workspace(tmp_path))
    build = tmp_path / "builds" / "20260101-000000-1" / "events.jsonl"
    run = tmp_path / "runs" / "train.t" / ("a" * 16)
    append(build, event="build_started", pid=1)
    first = feed.poll()
    assert first.build == build.parent
    assert [event["event"] for event in first.events] == ["build_started"]
    append(build, event="step_started", step="train.t", key="a" * 64, why="")
    append(run / "events.jsonl", event="step", step=1, steps=2, loss=1.0)
    second = feed.poll()
    assert second.build is None
    assert second.run == run
    assert [event["step"] for event in second.run_events] == [1]
    append(run / "events.jsonl", event="step", step=2, steps=2, loss=0.5)
    third = feed.poll()
    assert third.run is None
    assert [event["step"] for event in third.run_events] == [2]


def test_a_newer_build_takes_over(tmp_path: Path) -> None:
    feed = Feed(Workspace(tmp_path))
    append(tmp_path / "builds" / "20260101-000000-1" / "events.jsonl", event="build_done")
    feed.poll()
    newer = tmp_path / "builds" / "20260102-000000-1" / "events.jsonl"
    append(newer, event="build_started", pid=1)
    assert feed.poll().build == newer.parent


def test_a_worker_that_outlived_its_build_is_found(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "train.t" / ("b" * 16)
    append(run / "events.jsonl", event="started", kind="train")
    with (run / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert Feed(Workspace(tmp_path)).poll().run == run


def test_without_a_live_worker_the_run_written_to_last_is_shown_and_another_can_be_chosen(
    tmp_path: Path,
) -> None:
    older = tmp_path / "runs" / "base" / ("a" * 16)
    newer = tmp_path / "runs" / "train.t" / ("b" * 16)
    probe = tmp_path / "runs" / "export.gguf" / ("c" * 16)
    for seconds, run in enumerate((older, newer, probe)):
        append(run / "events.jsonl", event="step", step=1, steps=1, loss=float(seconds))
        os.utime(run / "events.jsonl", (seconds, seconds))
    feed = Feed(Workspace(tmp_path))
    assert feed.poll().run == newer
    feed.choose(older)
    chosen = feed.poll()
    assert chosen.run == older
    assert [event["loss"] for event in chosen.run_events] == [0.0]
    assert not feed.poll()


def test_steps_without_curves_leave_the_panes_to_the_training(tmp_path: Path) -> None:
    feed = Feed(Workspace(tmp_path))
    build = tmp_path / "builds" / "20260101-000000-1" / "events.jsonl"
    append(build, event="step_started", step="train.t", key="a" * 64, why="")
    assert feed.poll().run is not None
    append(build, event="step_started", step="evaluate.e", key="b" * 64, why="")
    assert feed.poll().run is None
    assert feed.run == tmp_path / "runs" / "train.t" / ("a" * 16)


def test_the_prediction_comes_from_the_job(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"predicted_bytes": 123}))
    assert predicted_bytes(tmp_path) == 123.0
    assert predicted_bytes(tmp_path / "none") == 0.0
