from pathlib import Path
from typing import Any

from cockpit_pilot import until
from textual.widgets import Select, Static
from tuneforge_datastore.preview import Preview, Run
from tuneforge_datastore.sql import Answer
from tuneforge_tui.app import Cockpit
from tuneforge_tui.questions import datasets, funnel, record, records, rules
from tuneforge_tui.screens.data import Choice, DataScreen
from tuneforge_tui.widgets.answer_table import AnswerTable
from tuneforge_tui.widgets.funnel_view import funnel_text
from tuneforge_tui.widgets.record_detail import detail
from tuneforge_tui.widgets.token_mask import mask_text

from tuneforge.workspace import Workspace


def test_the_store_answers_what_the_screen_asks(built: Path) -> None:
    workspace = Workspace.of(built).root
    (dataset,) = datasets(workspace)
    assert (dataset.name, dataset.kept, dataset.dropped) == ("instruct", 56, 8)
    assert rules(workspace, dataset) == [("length", 8)]
    kept = records(workspace, dataset, "kept")
    assert len(kept.rows) == 56
    dropped = records(workspace, dataset, "dropped", "length")
    assert len(dropped.rows) == 8
    assert records(workspace, dataset, "dropped", "refusal").rows == []
    known = record(workspace, dataset, str(dropped.rows[0][0]))
    assert known["verdict"] == "dropped"
    assert known["completion"] == "no"
    stages = [row[:2] for row in funnel(workspace, dataset).rows]
    assert ("filters[0]", "length") in stages


async def test_records_are_listed_by_fate_and_shown_whole(built: Path) -> None:
    app = Cockpit(built, Workspace.of(built))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, DataScreen))
        table = app.screen.query_one("#records", AnswerTable)
        await until(pilot, lambda: table.row_count == 56)
        app.screen.query_one("#side", Select).value = Choice("dropped", "length", 8)
        await until(pilot, lambda: table.row_count == 8)
        await pilot.press("2", "down")
        shown = app.screen.query_one("#record-detail", Static)
        await until(pilot, lambda: "reason" in str(shown.render()))


async def test_the_console_runs_queries_and_says_what_is_wrong_with_them(built: Path) -> None:
    app = Cockpit(built, Workspace.of(built))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, DataScreen))
        await pilot.press("4", "f5")
        answer = app.screen.query_one("#sql-answer", AnswerTable)
        await until(pilot, lambda: answer.row_count == 2)
        said = app.screen.query_one("#sql-said", Static)
        app.screen.query_one("#sql").text = "SELEC 1"  # type: ignore[attr-defined]
        await pilot.press("f5")
        await until(pilot, lambda: "SELEC" in str(said.render()))
        assert answer.row_count == 2
        app.screen.query_one("#sql").text = "SELECT '[/bold] [red]'::INT"  # type: ignore[attr-defined]
        await pilot.press("f5")
        await until(pilot, lambda: "'[/bold] [red]'" in str(said.render()))


async def test_a_workspace_without_a_store_says_what_to_do(spec: Path) -> None:
    app = Cockpit(spec, Workspace.of(spec))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, DataScreen))
        said = app.screen.query_one("#said", Static)
        await until(pilot, lambda: "build" in str(said.render()))


def test_the_funnel_shows_what_each_stage_took() -> None:
    rows: list[tuple[Any, ...]] = [("read", "read", 100, 0, 100), ("dedup", "exact", 100, 50, 50)]
    text = funnel_text(Answer(["stage", "rule", "in", "dropped", "out"], [], rows), 80).plain
    first, second = text.splitlines()
    assert first.count("█") == 24
    assert second.count("█") == 12
    assert "-50" in second


def test_every_token_has_the_colour_of_its_fate() -> None:
    runs = [Run("masked", "question", 2), Run("trained", "answer", 3), Run("cut", "rest", 4)]
    text = mask_text(Preview("rows:1", "train", "truncated", "too long", {"record": runs}))
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert styles["question"] == "dim"
    assert styles["answer"] == "bold green"
    assert styles["rest"] == "red strike"
    assert "3 trained" in text.plain


def test_data_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in detail({"prompt": "\x1b[2J"}).plain
