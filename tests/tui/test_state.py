from typing import Any

import pytest
from tuneforge_tui.state import BuildView, RunView, StepView, human_bytes, human_seconds


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "t": 100.0, "event": name, **fields}


def test_a_build_is_followed_from_start_to_end() -> None:
    build = BuildView()
    build.plan([StepView("source.a", "cached"), StepView("train.t")])
    build.apply(event("build_started", pid=7))
    line = build.apply(event("step_started", step="train.t", key="k", why=["never built"]))
    assert line == "train.t: started (never built)"
    build.apply(event("progress", step="train.t", done=3, total=12, unit="steps"))
    assert build.steps["train.t"].fraction == 0.25
    assert (build.state, build.pid, build.current) == ("running", 7, "train.t")
    build.apply(event("step_done", step="train.t", key="k", seconds=2.5, cached=False))
    assert build.steps["train.t"].state == "done"
    build.apply(event("build_done", summary={}))
    assert (build.state, build.current) == ("done", "")


def test_a_failed_build_marks_what_ran_and_says_why() -> None:
    build = BuildView()
    build.apply(event("step_started", step="train.t", key="k", why=""))
    assert "diverged" in build.apply(event("build_failed", message="diverged"))
    assert build.steps["train.t"].state == "failed"


def test_an_interrupted_step_is_to_be_done_not_failed() -> None:
    build = BuildView()
    build.apply(event("step_started", step="train.t", key="k", why=""))
    build.apply(event("interrupted"))
    assert (build.state, build.steps["train.t"].state) == ("interrupted", "planned")


def test_progress_of_unknown_length_has_no_fraction() -> None:
    build = BuildView()
    build.apply(event("step_started", step="s.a", key="k", why=""))
    build.apply(event("progress", step="s.a", done=3, total=0))
    assert build.steps["s.a"].fraction is None


def test_gates_are_said() -> None:
    line = BuildView().apply(
        event("gate", evaluation="e", expression="loss < 1", value=2.0, passed=False)
    )
    assert line == "gate failed: e: loss < 1"


def test_a_resumed_run_replaces_the_points_it_repeats() -> None:
    run = RunView()
    for step, loss in [(1, 3.0), (2, 2.0), (3, 1.0), (2, 2.5), (3, 1.5)]:
        run.apply(event("step", step=step, steps=9, loss=loss, memory_bytes=10))
    assert run.loss == [(1, 3.0), (2, 2.5), (3, 1.5)]


def test_a_loss_that_is_no_number_draws_no_point() -> None:
    run = RunView()
    run.apply(event("step", step=1, steps=2, loss=None))
    assert run.loss == []


def test_evaluations_pauses_and_out_of_memory_are_said() -> None:
    run = RunView()
    assert run.apply(event("eval", step=4, loss=1.25)) == "step 4: eval loss 1.2500"
    run.apply(event("paused"))
    assert run.paused
    run.apply(event("resumed"))
    assert not run.paused
    line = run.apply(event("oom", micro_batch=2, accumulate=8))
    assert line == "out of memory: micro_batch 2, accumulate 8"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "2 KiB"), (3 * 2**20, "3 MiB"), (2**34, "16.0 GiB")],
)
def test_bytes_are_written_in_binary_units(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.26, "0.3 s"), (42, "42 s"), (61, "1 m 01 s"), (3600 * 5 + 120, "5 h 02 m")],
)
def test_durations_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
