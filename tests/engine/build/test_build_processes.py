"""Builds as processes: killed, interrupted, two at once, without a terminal, without torch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneforge.manifest import compare, read_manifest


def start(fakes: Path, project, *arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(fakes), *arguments],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def run(fakes: Path, project, *arguments: str, **options) -> subprocess.CompletedProcess:
    process = start(fakes, project, *arguments, **options)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def await_sleep(project, process: subprocess.Popen) -> None:
    """Wait until a step sleeps as its hook says."""
    until = time.monotonic() + 30
    while not (project.folder / "sleeping").exists():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    (project.folder / "sleeping").unlink()


def artifacts_are_sound(project) -> None:
    for manifest in (project.folder / ".tuneforge" / "artifacts").glob("*/*/*"):
        assert compare(manifest, read_manifest(manifest)) == []


def test_a_killed_build_leaves_nothing_half_visible_and_goes_on(fakes, project) -> None:
    project.hooks(merge__m=["sleep:60"])
    process = start(fakes, project, "build")
    await_sleep(project, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((project.folder / ".tuneforge" / "tmp").iterdir())  # what it left
    artifacts_are_sound(project)
    assert not (project.folder / ".tuneforge" / "artifacts" / "merge").exists()
    project.hooks()
    project.ran  # noqa: B018
    assert run(fakes, project, "build").returncode == 0
    assert project.ran == ["merge.m", "evaluate.e", "export.x"]
    assert not list((project.folder / ".tuneforge" / "tmp").iterdir())
    artifacts_are_sound(project)


def test_kills_at_any_moment_never_leave_a_broken_artifact(fakes, project) -> None:
    reference = run(fakes, project, "build", "--workspace", "reference")
    assert reference.returncode == 0
    for round_ in range(6):
        process = start(fakes, project, "build")
        time.sleep(0.25 + 0.06 * round_)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if (project.folder / ".tuneforge").exists():
            artifacts_are_sound(project)
    assert run(fakes, project, "build").returncode == 0
    digests = [
        sorted(
            read_manifest(path)["digest"]
            for path in (project.folder / folder / "artifacts").glob("*/*/*")
        )
        for folder in ("reference", ".tuneforge")
    ]
    assert digests[0] == digests[1]


def test_two_builds_at_once_run_shared_steps_once(fakes, project) -> None:
    project.hooks(train__t=["sleep:1.5"])
    first = start(fakes, project, "build")
    await_sleep(project, first)
    second = start(fakes, project, "build")
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert f"waiting for build {first.pid}" in outputs[1]
    ran = project.ran
    assert sorted(ran) == sorted(set(ran))
    assert len(ran) == 8
    artifacts_are_sound(project)


def test_a_killed_holder_of_a_lock_blocks_nobody(fakes, project) -> None:
    project.hooks(train__t=["sleep:60"])
    first = start(fakes, project, "build")
    await_sleep(project, first)
    second = start(fakes, project, "build")
    time.sleep(1.0)
    project.hooks()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert second.wait(timeout=60) == 0
    second.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_the_next_build_goes_on(fakes, project, number) -> None:
    project.hooks(train__t=["sleep:60"])
    process = start(fakes, project, "build")
    await_sleep(project, process)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopped; the next build goes on" in out
    assert "Traceback" not in err
    log = max((project.folder / ".tuneforge" / "builds").glob("*/events.jsonl"))
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "interrupted"
    project.hooks()
    project.ran  # noqa: B018
    assert run(fakes, project, "build").returncode == 0
    assert project.ran == ["train.t", "merge.m", "evaluate.e", "export.x"]


def test_a_lost_terminal_does_not_stop_the_build(fakes, project) -> None:
    project.hooks(train__t=["sleep:1"])
    process = start(fakes, project, "build")
    await_sleep(project, process)
    os.kill(process.pid, signal.SIGHUP)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=30) == 0
    log = max((project.folder / ".tuneforge" / "builds").glob("*/events.jsonl"))
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "build_done"


def test_a_closed_pipe_is_quiet(fakes, project) -> None:
    assert run(fakes, project, "build").returncode == 0
    process = start(fakes, project, "plan", "--resolved")
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""


def test_a_bug_is_one_line_and_a_report(fakes, project) -> None:
    project.hooks(merge__m=["bug"])
    done = run(fakes, project, "build")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    report = Path(done.stderr.partition("details: ")[2].strip())
    assert "ZeroDivisionError" in report.read_text()
    report.unlink()


def test_json_lines_are_the_events(fakes, project) -> None:
    done = run(fakes, project, "build", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "build_started"
    assert events[-1]["event"] == "build_done"
    log = next((project.folder / ".tuneforge" / "builds").glob("*/events.jsonl"))
    assert [json.loads(line) for line in log.read_text().splitlines()] == events


def test_standard_input_is_a_source(fakes, project) -> None:
    project.edit('path = "words.txt"', 'path = "-"')
    done = run(fakes, project, "build", stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "pipe the data in" in done.stderr
    process = start(fakes, project, "build", stdin=subprocess.PIPE)
    _, err = process.communicate("abc defg", timeout=60)
    assert process.returncode == 0, err
    assert run(fakes, project, "plan", stdin=subprocess.DEVNULL).stdout.startswith("cached")


def test_a_read_only_workspace_is_exit_6_and_plans_all_the_same(fakes, project) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the workspace that is a file covers the message")
    project.folder.chmod(0o555)
    try:
        assert run(fakes, project, "plan").returncode == 0
        assert run(fakes, project, "build").returncode == 6
    finally:
        project.folder.chmod(0o755)


HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "pandas", "numba", "bitsandbytes")
DATA = ("duckdb", "pyarrow", "numpy", "tokenizers")


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["plan"], ()),
        (["build"], ("rich",)),
        (["status"], ("rich",)),
        (["explain", "train.t"], ("rich",)),
        (["validate"], ("rich",)),
        (["schema"], ("rich",)),
        (["gc"], ("rich",)),
    ],
)
def test_light_commands_load_nothing_heavy(
    fakes, project, arguments: list[str], also: tuple[str, ...]
) -> None:
    assert run(fakes, project, "build").returncode == 0
    report = project.folder / "modules"
    done = run(fakes, project, *arguments, env={**os.environ, "FAKES_MODULES": str(report)})
    assert done.returncode == 0, done.stderr
    assert set(report.read_text().split()) & {*HEAVY, *DATA, *also} == set()


def test_help_loads_nothing_at_all() -> None:
    code = (
        "import sys; from tuneforge.cli import main; main(['--help']); "
        f"print([m for m in {(*HEAVY, *DATA, 'typer', 'pydantic', 'rich')!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_importing_a_step_loads_nothing_heavy() -> None:
    code = (
        "import sys, importlib; from tuneforge.steps import STEPS;"
        "[importlib.import_module(m) for m in STEPS.values()];"
        f"print([m for m in {(*HEAVY, *DATA)!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
