"""Starting and stopping builds as processes of their own, which the cockpit may leave behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tuneforge.workspace import Workspace


def start_build(spec: Path, workspace: Workspace) -> "subprocess.Popen[bytes]":
    """Start ``tuneforge build`` in a session of its own; its words go to ``builds/cockpit.log``."""
    workspace.create()
    command = [sys.executable, "-m", "tuneforge", "build", str(spec)]
    command += ["--workspace", str(workspace.root)]
    with (workspace.root / "builds" / "cockpit.log").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def stop_build(pid: int) -> bool:
    """Ask a build to stop after its current step's checkpoint; say whether it was there."""
    if not build_alive(pid):
        return False
    os.kill(pid, signal.SIGINT)
    return True


def build_alive(pid: int) -> bool:
    """Say whether ``pid`` is a running build, not a later process with the same number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(
            "tuneforge" in part for part in process.cmdline()
        )
    except (psutil.NoSuchProcess, ValueError):
        return False


def last_words(workspace: Workspace, lines: int = 12) -> str:
    """Return the end of what the last build started from here said."""
    log = workspace.root / "builds" / "cockpit.log"
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
