"""The real program in a real terminal."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SLOW_SOURCE = """
[sources.slow]
sql = \"\"\"
SELECT 'count to ' || n AS instruction, 'one two ' || n AS output FROM (
  SELECT count(*) AS n FROM range(30000) a, range(10000) b WHERE hash(a.range + b.range) % 7 = 0)
\"\"\"
[datasets.counted]
from = [{ source = "slow" }]
"""


class Terminal:
    """A tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait_for(self, text: str, seconds: float = 40.0) -> str:
        end = time.monotonic() + seconds
        while text not in (shown := self.screen()):
            assert time.monotonic() < end, f"{text!r} never came:\n{shown}"
            time.sleep(0.1)
        return shown


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: the cockpit was not driven in a real terminal")
    terminal = Terminal(tmp_path_factory.mktemp("tmux"))
    yield terminal
    subprocess.run(["tmux", "-S", terminal._socket, "kill-server"], capture_output=True)  # noqa: PLW1510


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def build_events(spec: Path) -> list[str]:
    logs = sorted((spec.parent / ".tuneforge" / "builds").glob("*/events.jsonl"))
    lines = logs[-1].read_text().splitlines() if logs else []
    return [json.loads(line)["event"] for line in lines]


def test_the_cockpit_fits_80x24_and_losing_the_terminal_stops_nothing(
    spec: Path, terminal: Terminal
) -> None:
    spec.write_text(spec.read_text() + SLOW_SOURCE)
    program = f"{sys.executable} -m tuneforge tui {spec}"
    terminal.tmux("new-session", "-d", "-x", "80", "-y", "24", program)
    shown = terminal.wait_for("○ instruct")
    assert len(shown.splitlines()) == 24
    assert "Start" in shown
    assert "Detach" in shown
    terminal.tmux("send-keys", "b")
    terminal.wait_for("▶ slow")
    assert "build_done" not in build_events(spec)
    terminal.tmux("kill-server")
    wait(lambda: "build_done" in build_events(spec))


def test_the_data_screen_shows_the_store(built: Path, terminal: Terminal) -> None:
    program = f"{sys.executable} -m tuneforge tui {built}"
    terminal.tmux("new-session", "-d", "-x", "80", "-y", "24", program)
    terminal.wait_for("✓ instruct")
    terminal.tmux("send-keys", "F2")
    terminal.wait_for("filters[0] length")
    terminal.tmux("send-keys", "2")
    shown = terminal.wait_for("rows:1")
    assert "kept (56)" in shown
    terminal.tmux("send-keys", "d")
    wait(lambda: not server_alive(terminal))


def server_alive(terminal: Terminal) -> bool:
    listed = subprocess.run(  # noqa: PLW1510
        ["tmux", "-S", terminal._socket, "list-sessions"], capture_output=True
    )
    return listed.returncode == 0
