"""kill -9 at every kind of place, with real steps: the end is that of an undisturbed build."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.train, pytest.mark.timeout(1200)]

SPEC = """
spec = 1
[build]
name = "killed"
[sources.data]
path = "data.jsonl"
[datasets.d]
from = [{ source = "data" }]
dedup = { near = { threshold = 0.8 } }
split = { eval = 0.1 }
template = { max_tokens = 64 }
[base]
#TINY
corpus = ["data"]
[train.t]
method = "sft"
dataset = "d"
adapter = { kind = "lora", r = 4, dropout = 0.1 }
args = { max_steps = 12, micro_batch = 2, checkpoint_every = 3, gradient_checkpointing = false }
[merge.m]
method = "lora"
inputs = [{ train = "t" }]
[export.x]
model = "m"
format = "gguf"
types = ["f16"]
"""


def write_data(folder: Path) -> None:
    words = ("red green blue black white small large round flat quick slow warm " * 2).split()
    lines = []
    for n in range(600):
        said = " ".join(words[(n * 7 + i * (n % 13 + 1)) % len(words)] for i in range(6))
        lines.append(json.dumps({"prompt": f"{n} {said}", "completion": said[::-1]}))
    (folder / "data.jsonl").write_text("\n".join(lines) + "\n")


def seen(built: Any, wanted: Callable[[dict], bool]) -> bool:
    logs = sorted((built.workspace / "builds").glob("*/events.jsonl"))
    if not logs:
        return False
    lines = logs[-1].read_text().splitlines()
    return any(wanted(json.loads(line)) for line in lines if line.endswith("}"))


def kill_when(built: Any, wanted: Callable[[dict], bool]) -> None:
    """Start a build and kill it, its children and its worker when an event shows up."""
    before = len(list((built.workspace / "builds").glob("*")))
    process = built.start("build")
    until = time.monotonic() + 600
    while time.monotonic() < until and process.poll() is None:
        new = len(list((built.workspace / "builds").glob("*"))) > before
        if new and seen(built, wanted):
            break
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for file in built.workspace.glob("runs/*/*/worker.json"):
        pid = json.loads(file.read_text()).get("pid", 0)
        command = Path(f"/proc/{pid}/cmdline")
        if pid and command.exists() and b"tuneforge.worker" in command.read_bytes():
            os.kill(pid, signal.SIGKILL)


def starts(step: str) -> Callable[[dict], bool]:
    return lambda event: event["event"] == "step_started" and event["step"] == step


def trains_beyond(step: int) -> Callable[[dict], bool]:
    return lambda event: (
        event["event"] == "progress" and event["step"] == "train.t" and event["done"] > step
    )


def test_the_end_is_that_of_an_undisturbed_build(
    project: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    write_data(tmp_path)
    built = project(SPEC, one_thread=True)
    for wanted in (starts("dataset.d"), trains_beyond(6), starts("merge.m"), starts("export.x")):
        kill_when(built, wanted)
        built.run("sql", "SELECT count(*) FROM information_schema.tables")
        assert not (built.workspace / "exports").exists()
    built.run("build")
    steps = [e["step"] for e in built.events() if e["event"] == "step_done" and not e["cached"]]
    assert "base" not in steps
    assert "train.t" not in steps

    calm = type(built)(tmp_path_factory.mktemp("calm"), one_thread=True)
    (calm.folder / "spec.toml").write_text((built.folder / "spec.toml").read_text())
    write_data(calm.folder)
    calm.run("build")
    for step in ("dataset.d", "render.d", "base", "train.t", "merge.m"):
        assert built.digest(step) == calm.digest(step), step
