"""The Chat screen against a process that answers as `tuneforge chat --json` does."""

import fcntl
import sys
from pathlib import Path

import pytest
from cockpit_pilot import cockpit, screen_text, until
from textual.widgets import Input
from tuneforge_tui.app import Cockpit

from tuneforge.workspace import Workspace

ECHO = """
import json, sys, time
def tell(**event):
    print(json.dumps(event), flush=True)
sys.stderr.write("a library warns, and warns\\n" * 10_000)
tell(event="loading", model="base")
tell(event="ready", model="base")
heard = []
for line in sys.stdin:
    request = json.loads(line)
    if "reset" in request:
        heard.clear()
        tell(event="reset")
        continue
    heard.append(request["say"])
    if request["say"] == "break":
        sys.exit("error: the model broke")
    tell(event="piece", text="heard ")
    if request["say"] == "forever":
        time.sleep(600)
    tell(event="piece", text=" and ".join(heard))
    tell(event="answer", text="", tokens=20, seconds=2.0, ended=request["say"] != "long")
"""


@pytest.fixture
def app(built: Path, monkeypatch: pytest.MonkeyPatch) -> Cockpit:
    """A cockpit on a built spec, its models replaced by one that repeats what it hears."""

    def echo(model: str, spec: Path, workspace: Workspace) -> list[str]:
        del spec, workspace
        assert model == "base"
        return [sys.executable, "-c", ECHO]

    monkeypatch.setattr("tuneforge_tui.talking.command", echo)
    return cockpit(built)


async def say(pilot: object, app: Cockpit, text: str) -> None:
    app.chat_screen.query_one("#say", Input).value = text
    await pilot.press("enter")  # type: ignore[attr-defined]


async def test_answers_grow_follow_each_other_and_are_forgotten_on_demand(app: Cockpit) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await say(pilot, app, "one")
        await until(pilot, lambda: "20 tokens, 10/s" in screen_text(app))
        assert "base  heard one" in screen_text(app)
        await say(pilot, app, "long")
        await until(pilot, lambda: "it did not end by itself" in screen_text(app))
        assert "heard one and long" in screen_text(app)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "heard one" not in screen_text(app))
        await say(pilot, app, "two")
        await until(pilot, lambda: "heard two" in screen_text(app))


async def test_an_answer_can_be_stopped_and_a_broken_process_says_why(app: Cockpit) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await say(pilot, app, "forever")
        await until(pilot, lambda: "base  heard" in screen_text(app))
        await say(pilot, app, "more")
        assert [note.message for note in app._notifications] == [
            "it is still answering; Esc stops it"
        ]
        await pilot.press("escape")
        await until(pilot, lambda: "stopped; the talk starts anew" in screen_text(app))
        await say(pilot, app, "break")
        await until(pilot, lambda: "error: the model broke" in screen_text(app))
        await say(pilot, app, "again")
        await until(pilot, lambda: "heard again" in screen_text(app))


async def test_a_build_that_starts_takes_the_model_away(
    app: Cockpit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await say(pilot, app, "forever")
        await until(pilot, lambda: "base  heard" in screen_text(app))
        talk = app.chat_screen._talk
        assert talk is not None
        monkeypatch.setattr("tuneforge_tui.launching.start_build", lambda *given: None)
        app.build_screen.action_build()
        await until(pilot, lambda: "stopped: a build has started" in screen_text(app))
        assert talk._process.wait(10) != 0


async def test_no_model_is_loaded_beside_a_training_run(built: Path, app: Cockpit) -> None:
    run = Workspace.of(built).run_path("train.t", "e" * 64)
    run.mkdir(parents=True)
    (run / "job.json").write_text("{}")
    with (run / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("f4")
            await say(pilot, app, "one")
            await until(pilot, lambda: app._notifications)
            (told,) = [note.message for note in app._notifications]
            assert told == "train.t is running; a second model could take its memory"
            assert app.chat_screen.query_one("#say", Input).value == "one"


async def test_without_a_built_model_it_says_how_to_get_one(spec: Path) -> None:
    app = cockpit(spec)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: "no model is built yet" in screen_text(app))
        await say(pilot, app, "hello")
        assert app.is_running
