"""What an edit re-runs, with the real steps: no more than depends on it, and it says why."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from light_project import SPEC, TRAIN, LightProject

# Two datasets and two merges: half of it depends on no edit of the other half.
BOTH = (
    SPEC.replace("min = 2", "min = 1")
    + """
[datasets.other]
from = [{ source = "data" }]

[merge.n]
method = "linear"
inputs = [{ adapter = "adapter", weight = 0.5 }]
"""
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> LightProject:
    project = LightProject.make(tmp_path_factory.mktemp("rebuild") / "project", spec=BOTH)
    project.good("build")
    return project


@pytest.fixture
def project(built: LightProject) -> LightProject:
    """The built project, its spec as it was."""
    (built.folder / "spec.toml").write_text(BOTH)
    built.good("build")
    return built


def planned(project: LightProject) -> dict[str, dict[str, Any]]:
    """The steps of a plan that are not cached."""
    steps = json.loads(project.good("plan", "--json").out)["steps"]
    return {step["step"]: step for step in steps if step["status"] != "cached"}


def ran(project: LightProject) -> list[str]:
    events = project.good("build", "--json").events
    return [event["step"] for event in events if event["event"] == "step_started"]


def test_an_edited_filter_runs_its_dataset_and_the_plan_says_why(project: LightProject) -> None:
    before = project.digest("dataset.other")
    project.edit("min = 1", "min = 5")
    steps = planned(project)
    assert list(steps) == ["dataset.d"]
    (reason,) = steps["dataset.d"]["reasons"]
    assert reason["subject"] == "datasets.d.filters[0].min"
    assert (reason["before"], reason["after"]) == (1, 5)
    assert "datasets.d.filters[0].min changed 1 -> 5" in project.good("plan").out
    assert ran(project) == ["dataset.d"]
    assert project.digest("dataset.other") == before


def test_comments_order_and_spelled_out_defaults_run_nothing(project: LightProject) -> None:
    spec = (project.folder / "spec.toml").read_text()
    head, merges = spec[: spec.index("[merge.m]")], spec[spec.index("[merge.m]") :]
    parts = re.split(r"\n(?=\[merge\.n\])", merges)
    text = "# why\n" + head + "\n".join(reversed(parts))
    text = text.replace("eval = 0.2", 'by = "near-duplicate-cluster", eval = 0.20')
    (project.folder / "spec.toml").write_text(text)
    assert planned(project) == {}
    assert "nothing to do" in project.good("build").out


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> LightProject:
    """A project built up to its rendering, which needs no torch."""
    project = LightProject.make(tmp_path_factory.mktemp("render") / "project", spec=SPEC + TRAIN)
    project.good("build", "--only", "render.d")
    return project


def test_an_edit_that_changes_no_output_stops_there(render: LightProject) -> None:
    before = render.digest("render.d")
    render.edit("min = 2", "min = 1")  # every answer has more words than that
    events = render.good("build", "--only", "render.d", "--json").events
    assert [e["step"] for e in events if e["event"] == "step_started"] == ["dataset.d"]
    done = {e["step"]: e["cached"] for e in events if e["event"] == "step_done"}
    assert done["render.d"]
    assert render.digest("render.d") == before


def test_an_edit_that_changes_rows_goes_on_to_the_rendering(render: LightProject) -> None:
    with (render.folder / "data.jsonl").open("a") as file:
        file.write('{"prompt": "one more", "completion": "with an answer of its own"}\n')
    events = render.good("build", "--only", "render.d", "--json").events
    started = [e["step"] for e in events if e["event"] == "step_started"]
    assert started == ["source.data", "dataset.d", "render.d"]


HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "numba", "duckdb")


def test_a_build_with_nothing_to_do_imports_nothing_heavy(project: LightProject) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tuneforge", "build"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nothing to do" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tuneforge.build.session" in imported  # the report is one
    assert {name.partition(".")[0] for name in imported} & set(HEAVY) == set()


def test_the_same_in_two_workspaces_is_the_same(
    render: LightProject, built: LightProject, tmp_path: Path
) -> None:
    again = LightProject.make(tmp_path / "again", spec=(render.folder / "spec.toml").read_text())
    (again.folder / "data.jsonl").write_bytes((render.folder / "data.jsonl").read_bytes())
    again.good("build", "--only", "render.d", "--only", "merge.m", threads=1)
    for step in ("source.data", "dataset.d", "base", "render.d"):
        assert again.digest(step) == render.digest(step), step
    assert again.digest("merge.m") == built.digest("merge.m")


@pytest.mark.parametrize("words", [("sql", "SELECT 1"), ("data", "funnel", "d"), ("build",)])
def test_the_libraries_below_say_nothing_on_the_way_out(
    project: LightProject, words: tuple[str, ...]
) -> None:
    assert project.good(*words).err == ""
