"""The Runs screen on run folders as workers leave them."""

import json
from pathlib import Path
from typing import Any

from cockpit_pilot import cockpit, screen_text, until, write
from tuneforge_tui.history import past_runs, row
from tuneforge_tui.widgets.answer_table import AnswerTable
from tuneforge_tui.widgets.line_chart import LineChart
from tuneforge_tui.widgets.loss_pane import BESIDE, EVAL, TRAIN, LossPane

from tuneforge.workspace import Workspace


def made(spec: Path, step: str, losses: list[float], end: dict[str, str]) -> Path:
    """Write the folder of a run that ended."""
    run = Workspace.of(spec).run_path(step, step[-1] * 64)
    run.mkdir(parents=True)
    (run / "job.json").write_text(json.dumps({"kind": "train"}))
    (run / "worker.json").write_text(json.dumps({"pid": 1, "events": 0}))
    steps = [
        {"event": "step", "step": n, "steps": 9, "loss": loss, "t": 100.0 + n}
        for n, loss in enumerate(losses, start=1)
    ]
    write(run / "events.jsonl", [{"event": "started", "t": 100.0}, *steps, {"t": 190.0, **end}])
    return run


def curves_of(pane: LossPane) -> dict[str, Any]:
    """What the chart of a pane draws, by style."""
    return dict(pane.query_one(LineChart).series)


async def test_runs_are_listed_newest_first_and_two_are_drawn_together(spec: Path) -> None:
    made(spec, "train.a", [4.0, 2.0, 1.0], {"event": "done"})
    failed = made(spec, "train.b", [8.0, 9.0], {"event": "failed", "message": "out of patience"})
    with (failed / "events.jsonl").open("a") as log:
        log.write(json.dumps({"v": 1, "t": 200.0, "event": "failed", "message": "no more"}) + "\n")
    newest, older = past_runs(Workspace.of(spec))
    assert list(row(newest)[1:6]) == ["failed", "2/9", 9.0, None, "1 m 40 s"]
    assert list(row(older)[1:6]) == ["done", "3/9", 1.0, None, "1 m 30 s"]
    app = cockpit(spec)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: "train.b/" in screen_text(app))
        await until(pilot, lambda: "no more" in screen_text(app))
        pane = app.runs_screen.query_one(LossPane)
        table = app.runs_screen.query_one("#runs", AnswerTable)
        await until(pilot, lambda: table.has_focus and table.row_count == 2)
        await pilot.press("m")
        await until(pilot, lambda: app.runs_screen._marked is not None)
        await pilot.press("down")
        await until(pilot, lambda: "loss 1.0000" in screen_text(app))
        await until(pilot, lambda: "train.b/bbbbbbbbbbbbbbbb 9.0000" in screen_text(app))
        curves = curves_of(pane)
        assert [y for _, y in curves[TRAIN]] == [4.0, 2.0, 1.0]
        assert [y for _, y in curves[BESIDE]] == [8.0, 9.0]
        await pilot.press("up")
        await until(pilot, lambda: table.cursor_row == 0)
        await pilot.press("m")
        await until(pilot, lambda: app.runs_screen._marked is None)
        await pilot.press("down")
        await until(pilot, lambda: list(curves_of(pane)) == [TRAIN, EVAL])
        await until(pilot, lambda: "train.b/bbbbbbbbbbbbbbbb 9.0000" not in screen_text(app))
        assert [y for _, y in curves_of(pane)[TRAIN]] == [4.0, 2.0, 1.0]


async def test_a_workspace_without_runs_says_how_to_get_one(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: "nothing has run here yet" in screen_text(app))
