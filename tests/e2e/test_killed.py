"""Builds and workers killed, interrupted, hung up on, and two at once: the end is the same."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from light_project import SPEC, TRAIN, LightProject

pytestmark = pytest.mark.timeout(1200)

FREEZE = Path(__file__).parent / "light" / "freeze"
# Where a build is stopped: in the writing of a step, at its manifest, and just before its rename.
PLACES = {
    "source": r"open .*/tmp/source\.data\.\w+/source\.json",
    "curation": r"open .*/tmp/dataset\.d\.\w+/funnel\.json",
    "curation, before its rename": r"os\.rename .*/tmp/dataset\.d\.\w+$",
    "merge, at its weights": r"open .*/tmp/merge\.m\.\w+/model/[^/]*safetensors",
    "merge, after its weights": r"open .*/tmp/merge\.m\.\w+/merge\.json",
    "merge, at its manifest": r"open .*/tmp/merge\.m\.\w+/manifest\.json",
    "export": r"open .*/tmp/export\.x\.\w+/README\.md",
    "export, before its rename": r"os\.rename .*/tmp/export\.x\.\w+$",
}
STEPS = ("source.data", "dataset.d", "merge.m", "export.x")


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a build to come to a place."""
    end = time.monotonic() + 600
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the build never came there"
        time.sleep(0.005)


def kill(project: LightProject, process: subprocess.Popen[str]) -> None:
    """Kill a build, its children, and the worker, which is in a session of its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for file in project.workspace.glob("runs/*/*/worker.json"):
        pid = json.loads(file.read_text())["pid"]
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and b"tuneforge.worker" in command.read_bytes():
            os.kill(pid, signal.SIGKILL)


def weights(project: LightProject, step: str, file: str) -> str:
    return hashlib.sha256((project.artifact(step) / file).read_bytes()).hexdigest()


def test_a_build_killed_anywhere_ends_as_one_that_was_not(tmp_path: Path) -> None:
    calm = LightProject.make(tmp_path / "calm")
    calm.good("build")
    killed = LightProject.make(tmp_path / "killed")
    for number, place in enumerate(PLACES.values()):
        mark = tmp_path / f"mark{number}"
        env = {"PYTHONPATH": str(FREEZE), "FREEZE_AT": place, "FREEZE_MARK": str(mark)}
        process = killed.start("build", env=env)
        until(mark.exists, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        step = place.split("/tmp/")[1].split(r"\.\w+")[0].replace("\\", "")
        assert list((killed.workspace / "tmp").glob(f"{step}.*"))  # it was in the middle
        assert not killed.made(step.partition(".")[0])
        if (killed.workspace / "store.duckdb").exists():
            known = killed.sql("SELECT step FROM artifacts")
            assert [step] not in known
            rows = killed.sql("SELECT count(*) FROM records")
            assert rows == [["40" if ["source.data"] in known else "0"]]
    ran = [event["step"] for event in killed.good("build", "--json").events if ran_now(event)]
    assert ran == ["export.x"]
    killed.builds_well()
    for step in STEPS:
        assert killed.digest(step) == calm.digest(step), step


def ran_now(event: dict[str, Any]) -> bool:
    return event["event"] == "step_started"


TRAINED = SPEC.replace('adapter = "adapter"', 'train = "t"') + TRAIN.replace(
    "max_steps = 12", "max_steps = 60"
).replace("checkpoint_every = 3", "checkpoint_every = 5")


def made(folder: Path) -> LightProject:
    return LightProject.make(folder, spec=TRAINED)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> LightProject:
    """A build with training that nothing disturbed, on one thread."""
    project = made(tmp_path_factory.mktemp("calm") / "project")
    project.good("build", threads=1)
    return project


def run_events(project: LightProject) -> list[dict[str, Any]]:
    lines = [
        line
        for file in (project.workspace / "runs" / "train.t").glob("*/events.jsonl")
        for line in file.read_text().splitlines(keepends=True)
    ]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def at_step(project: LightProject, step: int, attempt: int) -> Callable[[], bool]:
    """Whether the given attempt at training has come to a step."""

    def reached() -> bool:
        events = run_events(project)
        starts = [n for n, event in enumerate(events) if event["event"] == "started"]
        if len(starts) < attempt:
            return False
        return any(
            event["event"] == "step" and event["step"] >= step for event in events[starts[-1] :]
        )

    return reached


def same_end(project: LightProject, calm: LightProject) -> None:
    for step in ("dataset.d", "render.d", "train.t", "merge.m", "export.x"):
        assert project.digest(step) == calm.digest(step), step
    for step, file in (
        ("train.t", "adapter/adapter_model.safetensors"),
        ("merge.m", "model/model.safetensors"),
    ):
        assert weights(project, step, file) == weights(calm, step, file)
    project.is_sound()


@pytest.mark.train
def test_training_interrupted_and_then_its_worker_killed(
    tmp_path: Path, calm: LightProject
) -> None:
    project = made(tmp_path / "project")
    process = project.start("build", threads=1)
    until(at_step(project, 7, attempt=1), process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    stopped = run_events(project)[-1]
    assert stopped["event"] == "stopped"
    assert not project.made("train")

    process = project.start("build", threads=1)
    until(at_step(project, 32, attempt=2), process)
    (file,) = (project.workspace / "runs" / "train.t").glob("*/worker.json")
    os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 5, out + err
    assert "the worker died" in err
    assert "from the last checkpoint" in err
    assert "Traceback" not in err
    assert not project.made("train")

    project.good("build", threads=1)
    attempts: list[list[int]] = []
    for event in run_events(project):
        if event["event"] == "started":
            attempts.append([])
        elif event["event"] == "step":
            attempts[-1].append(event["step"])
    assert [steps[0] for steps in attempts][1:] == [stopped["step"] + 1, 31]
    assert attempts[-1][-1] == 60
    same_end(project, calm)


@pytest.mark.train
def test_everything_killed_at_every_step(tmp_path: Path, tiny: str) -> None:
    # Every step at its real work: a base made here, near-duplicates, training, a merge, GGUF.
    spec = (
        SPEC.replace('adapter = "adapter"', 'train = "t"')
        .replace('[base]\nmodel = "base"', f'{tiny}corpus = ["data"]')
        .replace("split =", "dedup = { near = { threshold = 0.8 } }\nsplit =")
        .replace('"safetensors"', '"gguf"\ntypes = ["f16"]')
    )
    calm, project = (
        LightProject.make(tmp_path / name, spec=spec + TRAIN) for name in ("calm", "killed")
    )
    for one in (calm, project):
        write_talks(one.folder / "data.jsonl")
    calm.good("build", threads=1)
    places = (
        starting(project, "dataset.d"),
        at_step(project, 7, attempt=1),
        starting(project, "merge.m"),
        starting(project, "export.x"),
    )
    for reached in places:
        process = project.start("build", threads=1)
        until(reached, process)
        kill(project, process)
        project.sql("SELECT count(*) FROM information_schema.tables")
        assert not (project.workspace / "exports").exists()
    ran = [e["step"] for e in project.good("build", "--json", threads=1).events if ran_now(e)]
    assert ran == ["export.x"]
    for step in ("dataset.d", "render.d", "base", "train.t", "merge.m"):
        assert project.digest(step) == calm.digest(step), step
    project.is_sound()


def starting(project: LightProject, step: str) -> Callable[[], bool]:
    """Whether any build so far has begun a step."""

    def reached() -> bool:
        lines = [
            line
            for file in (project.workspace / "builds").glob("*/events.jsonl")
            for line in file.read_text().splitlines()
            if line.endswith("}")
        ]
        return any(ran_now(event) and event["step"] == step for event in map(json.loads, lines))

    return reached


def write_talks(file: Path) -> None:
    words = ("red green blue black white small large round flat quick slow warm " * 2).split()
    lines = []
    for n in range(600):
        said = " ".join(words[(n * 7 + i * (n % 13 + 1)) % len(words)] for i in range(6))
        lines.append(json.dumps({"prompt": f"{n} {said}", "completion": said[::-1]}))
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.train
def test_two_builds_at_once_share_the_work_and_a_lost_terminal_stops_neither(
    tmp_path: Path, calm: LightProject
) -> None:
    project = made(tmp_path / "project")
    first, second = (project.start("build", threads=1) for _ in range(2))
    until(at_step(project, 1, attempt=1), first)
    os.kill(first.pid, signal.SIGHUP)
    ends = [process.communicate(timeout=240) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ends
    logs = [
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in (project.workspace / "builds").glob("*/events.jsonl")
    ]
    assert len(logs) == 2
    assert all(log[-1]["event"] == "build_done" for log in logs)
    ran = Counter(event["step"] for log in logs for event in log if ran_now(event))
    assert set(ran.values()) == {1}
    assert len(ran) == 7
    same_end(project, calm)
