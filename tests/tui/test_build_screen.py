import json
from pathlib import Path

import pytest
from cockpit_pilot import cockpit, screen_text, until, write
from tuneforge_tui.app import Cockpit
from tuneforge_tui.state import StepView
from tuneforge_tui.widgets.log_tail import LogTail
from tuneforge_tui.widgets.loss_pane import LossPane
from tuneforge_tui.widgets.step_tree import StepTree

from tuneforge.device import Device
from tuneforge.runs import RunFolder
from tuneforge.workspace import Workspace

SMALL = (80, 24)


def states(app: Cockpit) -> dict[str, str]:
    return {step.id: step.state for step in app.build_screen.build.steps.values()}


def log_text(app: Cockpit) -> str:
    return "\n".join(line.text for line in app.build_screen.query_one(LogTail).lines)


async def test_the_plan_is_shown_before_anything_runs(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: states(app))
        assert set(states(app).values()) == {"planned"}
        tree = app.build_screen.query_one(StepTree)
        leaves = {leaf.data for group in tree.root.children for leaf in group.children}
        assert {"source.rows", "dataset.instruct", "base"} <= leaves


async def test_v_shows_the_plan_in_full_and_every_default(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: states(app))
        await pilot.press("v")
        await until(pilot, lambda: "dataset.instruct" in screen_text(app))
        assert "to run" in screen_text(app)
        await pilot.press("2")
        await until(pilot, lambda: 'name = "cockpit-test"' in screen_text(app))
        assert "[build]" in screen_text(app)
        assert "seed = " in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.build_screen)


async def test_a_plan_that_cannot_be_made_says_so_in_full(spec: Path) -> None:
    spec.write_text(spec.read_text() + "\n[train.t]\nmethod = 'sft'\ndatset = 'instruct'\n")
    app = cockpit(spec)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("v")
        await until(pilot, lambda: "did you mean `dataset`" in screen_text(app))
        assert "datset" in screen_text(app)


async def test_b_builds_in_a_process_of_its_own_and_the_tree_follows(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: states(app))
        await pilot.press("b")
        await until(pilot, lambda: app.build_screen.build.state == "done", 60)
        await until(pilot, lambda: "planned" not in states(app).values())
        assert states(app)["dataset.instruct"] in ("done", "cached")
    assert (spec.parent / ".tuneforge" / "store.duckdb").is_file()


async def test_a_spec_that_cannot_be_planned_is_said_not_raised(spec: Path) -> None:
    spec.write_text(spec.read_text() + "\n[train.t]\nmethod = 'sft'\ndatset = 'instruct'\n")
    app = cockpit(spec)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "planning failed" in log_text(app))
        assert "datset" in log_text(app)


async def test_a_run_draws_its_curves_and_figures(spec: Path) -> None:
    workspace = Workspace.of(spec)
    build = workspace.root / "builds" / "20260101-000000-1"
    run = workspace.run_path("train.t", "a" * 64)
    for folder in (build, run):
        folder.mkdir(parents=True)
    (run / "job.json").write_text(json.dumps({"kind": "train"}))
    events = [{"event": "build_started", "pid": 0}]
    events.append({"event": "step_started", "step": "train.t", "key": "a" * 64, "why": "new"})
    write(build / "events.jsonl", events)
    steps = [
        {"event": "step", "step": n, "steps": 9, "loss": 4.0 / n, "memory_bytes": n << 30}
        for n in range(1, 6)
    ]
    write(RunFolder(run).events, [*steps, {"event": "eval", "step": 5, "loss": 0.75}])
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.build_screen.run_view is not None)
        await pilot.pause(0.3)
        shown = screen_text(app)
        assert "5/9" in shown
        assert "loss 0.8000" in shown
        assert "held-out 0.7500" in shown
        assert "5.0 GiB" in shown
        chart = app.build_screen.query_one(LossPane).query_one("#loss-chart")
        assert any("⠀" < character <= "⣿" for character in str(chart.render()))


async def test_a_training_step_that_is_chosen_shows_its_own_curve(spec: Path) -> None:
    workspace = Workspace.of(spec)
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: states(app))
        for number, name in enumerate(("one", "two")):
            step = StepView(f"train.{name}", "cached", key=str(number) * 64)
            app.build_screen.build.steps[step.id] = step
            run = workspace.run_path(step.id, step.key)
            run.mkdir(parents=True)
            write(run / "events.jsonl", [{"event": "step", "step": 1, "steps": 1, "loss": number}])
        never = StepView("train.never", "planned", key="2" * 64)
        app.build_screen.build.steps[never.id] = never
        tree = app.build_screen.query_one(StepTree)
        tree.show(app.build_screen.build.steps.values())
        await pilot.pause()
        leaves = {leaf.data: leaf for group in tree.root.children for leaf in group.children}
        for name, loss in (("one", "loss 0.0000"), ("two", "loss 1.0000")):
            tree.move_cursor(leaves[f"train.{name}"])
            tree.action_select_cursor()
            await until(pilot, lambda loss=loss: loss in screen_text(app))
        tree.move_cursor(leaves["train.never"])
        tree.action_select_cursor()
        told = "train.never has not run yet"
        await until(pilot, lambda: told in [note.message for note in app._notifications])
        assert "loss 1.0000" in screen_text(app)


async def test_a_build_that_was_killed_is_not_shown_as_running(spec: Path) -> None:
    build = Workspace.of(spec).root / "builds" / "20260101-000000-1"
    build.mkdir(parents=True)
    write(build / "events.jsonl", [{"event": "build_started", "pid": 2**22 + 1}])
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.build_screen.build.state == "interrupted")
        assert "process is gone" in log_text(app)


async def test_asking_a_run_that_is_not_there_only_says_so(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        for key in ("s", "p", "c"):
            await pilot.press(key)
        await pilot.pause(0.2)
        assert app.is_running


async def test_on_a_gpu_the_memory_is_what_the_driver_says_is_used(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Device("cuda", "a GPU", memory_bytes=24 << 30, free_bytes=18 << 30)
    monkeypatch.setattr("tuneforge_tui.screens.build.detect", lambda: gpu)
    app = cockpit(spec)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "VRAM 6.0 GiB of 24.0 GiB (25%)" in screen_text(app))
