"""A terminal that is gone: the build goes on, and its screen is not drawn any more."""

import json
import os
import pty
import signal
import subprocess
import sys
import time


def test_closing_a_real_terminal_leaves_the_build_running(fakes, project) -> None:
    project.hooks(train__t=["sleep:1.5"])
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(fakes), "build"],
        cwd=project.folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(slave)
    until = time.monotonic() + 30
    while not (project.folder / "sleeping").exists():
        assert time.monotonic() < until
        os.read(master, 65536)  # an unread terminal would block the build
    os.close(master)
    os.kill(process.pid, signal.SIGHUP)  # as the kernel does to the session of a closed terminal
    assert process.wait(timeout=30) == 0
    build = next((project.folder / ".tuneforge" / "builds").iterdir())
    events = [json.loads(line) for line in (build / "events.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "build_done"
    output = (build / "output.log").read_text()
    assert "everything of fake is built" in output
    assert output.count("train.t") < 5  # the summary, not the frames of a spinner
