"""The commands of examples/ci, as they stand there, where continuous integration would run them.

No HOME, no terminal, an almost empty environment, umask 077, sources that may not be written.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from light_project import SPEC, LightProject

from tuneforge.cli import COMMANDS, main

pytestmark = [pytest.mark.train]

EVALUATED = (
    SPEC.replace("split =", "dedup = { near = { threshold = 0.95 } }\nsplit =")  # numba, too
    + """
[evaluate.e]
model = "m"
dataset = "d"
metrics = ["loss"]
gate = ["loss < 100"]
"""
)
READ_ONLY = """
folder=$1; shift
for place in "$folder" "$@"; do
  mount --bind "$place" "$place"
  mount -o remount,bind,ro "$place"
done
cd "$folder"  # again: through the mount
umask 077
# as a user that no passwd file knows: nothing says where a home would be
exec unshare --user --map-user=12345 bash -eo pipefail -c "$SCRIPT"
"""
APART = ["unshare", "--map-root-user", "--mount"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            [*APART, "unshare", "--map-user=12345", "true"], check=False, capture_output=True
        ).returncode
        == 0
    )


@dataclass(frozen=True)
class Runner:
    """A checkout and the places a job may write to."""

    project: LightProject
    place: Path

    def environment(self, **declared: Any) -> dict[str, str]:
        """What the file declares, the writable places moved out of the checkout."""
        moved = {
            "WORKSPACE": str(self.place / "cache"),
            "OUT": str(self.place / "model"),
            "GITHUB_STEP_SUMMARY": str(self.place / "page.md"),
        }
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        return {**{key: str(value) for key, value in declared.items()}, **moved, "PATH": path}

    def run(self, script: str, environment: dict[str, str], code: int = 0) -> str:
        """Run the lines of one step; give what they wrote to stderr."""
        folder = self.project.folder
        if can_mount():
            repository = Path(__file__).resolve().parents[2]
            command = [*APART, "bash", "-eo", "pipefail", "-c", READ_ONLY, "step"]
            command += [str(folder), str(repository)]
        else:
            subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)
            command = ["bash", "-eo", "pipefail", "-c", 'umask 077; eval "$SCRIPT"']
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**environment, "SCRIPT": script},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
                timeout=500,
                check=False,
            )
        finally:
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        assert done.returncode == code, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done.stderr

    def published(self) -> None:
        """Assert that what the job uploads is all there: export, manifest, card, metrics."""
        out = self.place / "model"
        export = out / "x"
        for name in ("manifest.json", "model.safetensors", "README.md", "verification.json"):
            assert (export / name).is_file(), name
        self.project.good("verify", str(export))
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["gates"][0]["passed"]
        events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
        assert [events[0]["event"], events[-1]["event"]] == ["build_started", "build_done"]
        summary = (out / "summary.md").read_text()
        assert "# light" in summary
        assert "Gate `loss < 100`: passed" in summary
        assert (out / "summary.md").stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> LightProject:
    """A checkout: built once by its author, who committed the lock file and not the workspace."""
    made = LightProject.make(tmp_path_factory.mktemp("ci") / "checkout", spec=EVALUATED)
    merge = SPEC[: SPEC.index("[sources")] + SPEC[SPEC.index("[base]") : SPEC.index("[export")]
    (made.folder / "merge.toml").write_text(merge)
    made.good("build")
    shutil.rmtree(made.workspace)
    assert (made.folder / "spec.lock").is_file()
    return made


@pytest.fixture(scope="module")
def runner(project: LightProject, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(project, tmp_path_factory.mktemp("runner"))


GITHUB_JOB = {"runs-on", "timeout-minutes", "if", "env", "steps"}
GITHUB_STEP = {"name", "uses", "with", "run", "if"}
GITLAB_JOB = {
    "stage", "image", "before_script", "cache", "script", "artifacts", "rules", "variables",
}  # fmt: skip


def test_the_github_workflow_has_the_shape_that_github_takes(repository: Path) -> None:
    text = (repository / "examples" / "ci" / "github.yml").read_text()
    flow = yaml.load(text, Loader=yaml.BaseLoader)  # in YAML 1.1 a bare `on` is true
    assert set(flow) == {"name", "on", "env", "jobs"}
    assert set(flow["on"]) <= {"push", "pull_request", "workflow_dispatch"}
    for job in flow["jobs"].values():
        assert set(job) <= GITHUB_JOB
        assert {"runs-on", "steps"} <= set(job)
        for step in job["steps"]:
            assert set(step) <= GITHUB_STEP
            assert ("uses" in step) != ("run" in step), step
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
    used = re.findall(r"\$\{\{ (.*?) \}\}", text)
    assert text.count("${{") == len(used)
    assert {expression.split(".")[0].split("(")[0] for expression in used} <= {
        "hashFiles",
        "github",
    }


def test_the_gitlab_pipeline_has_the_shape_that_gitlab_takes(repository: Path) -> None:
    flow = yaml.safe_load((repository / "examples" / "ci" / "gitlab.yml").read_text())
    jobs = {name: job for name, job in flow.items() if name not in {"variables", "stages"}}
    assert {job["stage"] for job in jobs.values()} == set(flow["stages"])
    for job in jobs.values():
        assert set(job) <= GITLAB_JOB
        assert all(isinstance(line, str) for line in [*job["before_script"], *job["script"]])
        assert set(job["artifacts"]) <= {"paths", "when", "expose_as"}
        assert job["artifacts"].get("when", "always") in {"always", "on_success", "on_failure"}
    assert set(flow["build"]["cache"]) == {"key", "fallback_keys", "paths"}


@pytest.mark.parametrize("where", ["github", "gitlab"])
def test_every_command_and_option_exists(
    repository: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    text = (repository / "examples" / "ci" / f"{where}.yml").read_text()
    lines = re.sub(r"\\?\n\s+(?=--)", " ", text).splitlines()
    calls = [match for line in lines if (match := re.search(r"tuneforge ([a-z]+)(.*)", line))]
    named = {match[1] for match in calls if match[1] in COMMANDS}
    assert {"plan", "build", "evaluate", "verify", "merge", "export"} <= named
    for match in calls:
        if match[1] not in COMMANDS:
            continue
        assert main([match[1], "--help"]) == 0
        told = capsys.readouterr().out
        for option in re.findall(r"(?<=\s)--?[a-z-]+", match[2]):
            assert option in told, f"{match[0]}: {option}"


def github(repository: Path, job: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The scripts of a job's steps by name, and the variables it declares."""
    flow = yaml.safe_load((repository / "examples" / "ci" / "github.yml").read_text())
    declared = {**flow["env"], **flow["jobs"][job].get("env", {})}
    steps = flow["jobs"][job]["steps"]
    return {step["name"]: step["run"] for step in steps if "run" in step}, declared


def test_github_builds_holds_the_gate_and_publishes(repository: Path, runner: Runner) -> None:
    steps, declared = github(repository, "build")
    assert steps.pop("Install").startswith("pip install")
    environment = runner.environment(**declared)
    for script in steps.values():
        runner.run(script, environment)
    runner.published()
    assert (runner.place / "page.md").read_text().startswith("# light")


def test_a_restored_cache_leaves_nothing_to_do(
    repository: Path, runner: Runner, tmp_path: Path
) -> None:
    steps, declared = github(repository, "build")
    subprocess.run(["cp", "-r", str(runner.place / "cache"), str(tmp_path / "cache")], check=True)
    other = Runner(runner.project, tmp_path)
    other.run(steps["Build"], other.environment(**declared))
    lines = (tmp_path / "model" / "events.jsonl").read_text().splitlines()
    assert not [line for line in lines if json.loads(line)["event"] == "step_started"]


def test_a_failed_gate_is_exit_4_and_a_changed_spec_exit_7(
    repository: Path, runner: Runner, tmp_path: Path
) -> None:
    steps, declared = github(repository, "build")
    project = LightProject(tmp_path / "checkout")
    shutil.copytree(runner.project.folder, project.folder)
    subprocess.run(["cp", "-r", str(runner.place / "cache"), str(tmp_path / "cache")], check=True)
    shutil.rmtree(tmp_path / "cache" / "exports")
    lock = project.folder / "spec.lock"
    lock.write_text(lock.read_text().replace("loss < 100", "loss < 0.001"))
    other = Runner(project, tmp_path)
    project.edit("loss < 100", "loss < 0.001")
    said = other.run(steps["Build"], other.environment(**declared), code=4)
    assert "loss < 0.001" in said
    assert not (tmp_path / "cache" / "exports").exists()
    assert "**failed**" in (tmp_path / "model" / "summary.md").read_text()
    project.edit("min = 2", "min = 3")
    said = other.run(steps["Build"], other.environment(**declared), code=7)
    assert "datasets.d.filters[0].min changed 2 -> 3" in said
    page = (tmp_path / "model" / "summary.md").read_text()
    assert "**Failed with exit code 7.**" in page
    assert "datasets.d.filters[0].min changed 2 -> 3" in page
    other.run(steps["Summary"], other.environment(**declared))
    assert (tmp_path / "page.md").read_text() == page


def test_rows_that_cannot_be_read_are_exit_3_and_on_the_page(
    repository: Path, runner: Runner, tmp_path: Path
) -> None:
    steps, declared = github(repository, "build")
    project = LightProject(tmp_path / "checkout")
    shutil.copytree(runner.project.folder, project.folder)
    for file in project.folder.glob("**/*.jsonl"):
        file.write_text("not JSON\n")
    other = Runner(project, tmp_path)
    unlocked = steps["Build"].replace("--frozen ", "")
    assert unlocked != steps["Build"]
    said = other.run(unlocked, other.environment(**declared), code=3)
    page = (tmp_path / "model" / "summary.md").read_text()
    assert "**Failed with exit code 3.**" in page
    message = said.strip().splitlines()[-2].removeprefix("error: ")
    assert message in page


def gitlab(repository: Path, job: str) -> tuple[str, dict[str, Any]]:
    """The script of a job, and the variables it declares."""
    flow = yaml.safe_load((repository / "examples" / "ci" / "gitlab.yml").read_text())
    declared = {**flow["variables"], **flow[job].get("variables", {})}
    return "\n".join(flow[job]["script"]), declared


def test_gitlab_builds_holds_the_gate_and_publishes(
    repository: Path, runner: Runner, tmp_path: Path
) -> None:
    script, declared = gitlab(repository, "build")
    subprocess.run(["cp", "-r", str(runner.place / "cache"), str(tmp_path / "cache")], check=True)
    other = Runner(runner.project, tmp_path)
    other.run(script, other.environment(**declared))
    other.published()


@pytest.mark.parametrize("where", ["github", "gitlab"])
def test_a_merge_alone(repository: Path, project: LightProject, tmp_path: Path, where: str) -> None:
    if where == "github":
        steps, declared = github(repository, "merge")
        script = steps["Merge"]
    else:
        script, declared = gitlab(repository, "merge")
    here = Runner(project, tmp_path)
    here.run(script, here.environment(**declared))
    merged, exported = tmp_path / "model" / "merged", tmp_path / "model" / "export"
    (report,) = json.loads((tmp_path / "model" / "merge.json").read_text())
    assert report["changed"] > 0
    weights = (merged / "model.safetensors").read_bytes()
    assert (exported / "model.safetensors").read_bytes() == weights
    assert (exported / "manifest.json").is_file()
    assert os.listdir(project.folder).count(".tuneforge") == 0  # noqa: PTH208
