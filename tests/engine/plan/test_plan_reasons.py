"""A plan says why, with both values; what changes nothing re-runs nothing."""

import os

import pytest
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError
from tuneforge_specs.loader import load

from tuneforge.build.result import BuildOptions
from tuneforge.build.session import build
from tuneforge.console.base import Silent
from tuneforge.plan.builder import Wanted, make_plan
from tuneforge.workspace import Workspace


def built(project, *sets: str):
    loaded = load(project.spec, sets)
    return build(loaded, Workspace.of(project.spec), Silent(), BuildOptions())


def planned(project, *sets: str, **wanted):
    loaded = load(project.spec, sets)
    return make_plan(loaded, Workspace.of(project.spec), Wanted(**wanted))


def reasons(plan, step: str) -> list[str]:
    return [str(reason) for reason in plan[step].reasons]


def test_a_new_project_has_never_been_built(project) -> None:
    plan = planned(project)
    ids = [
        "source.words",
        "dataset.d",
        "base",
        "render.d",
        "train.t",
        "merge.m",
        "evaluate.e",
        "export.x",
    ]
    assert {p.step.id: p.status for p in plan} == dict.fromkeys(ids, "run")
    assert reasons(plan, "source.words") == ["never built"]
    assert not project.ran


def test_after_a_build_there_is_nothing_to_do(project) -> None:
    built(project)
    assert len(project.ran) == 8
    assert planned(project).done
    built(project)
    assert project.ran == []


def test_an_edited_filter_is_named_with_both_values(project) -> None:
    built(project)
    project.edit("min = 3", "min = 4")
    plan = planned(project)
    assert reasons(plan, "dataset.d") == ["datasets.d.filters[0].min changed 3 -> 4"]
    assert plan["dataset.d"].status == "run"
    assert plan["source.words"].status == plan["base"].status == "cached"
    assert [plan[s].status for s in ("render.d", "train.t", "merge.m", "export.x")] == [
        "pending"
    ] * 4
    assert reasons(plan, "render.d") == ["waits for dataset.d"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec = 1\n", "# a comment\nspec   =   1\n\n\n"),
        ('path = "words.txt"\nlicense', 'path = ["words.txt"]\nlicense'),
        ("min = 3", "min=3"),
        ('from = [{ source = "words" }]', 'from = [{ source = "words", fraction = 1.0 }]'),
    ],
)
def test_formatting_comments_and_spelled_out_defaults_change_nothing(
    project, before: str, after: str
) -> None:
    built(project)
    project.edit(before, after)
    assert planned(project).done


def test_the_order_of_tables_changes_nothing(project) -> None:
    built(project)
    head, *tables = project.spec.read_text().split("\n[")
    project.spec.write_text("\n[".join([head, *reversed(tables)]))
    assert planned(project).done


def test_a_changed_file_is_named_and_its_mtime_alone_is_not_a_change(project) -> None:
    built(project)
    words = project.folder / "words.txt"
    os.utime(words, (1, 1))
    assert planned(project).done
    words.write_text("another one")
    assert reasons(planned(project), "source.words") == ["file words.txt changed"]


def test_files_of_a_glob_that_come_and_go_are_named(project) -> None:
    project.edit('path = "words.txt"', 'path = "*.txt"')
    built(project)
    (project.folder / "more.txt").write_text("x")
    assert reasons(planned(project), "source.words") == ["file more.txt added"]
    (project.folder / "more.txt").unlink()
    assert planned(project).done


def test_a_new_step_version_is_a_reason(project) -> None:
    import sys

    built(project)
    sys.modules["fake_merge"].VERSION = 2
    plan = planned(project)
    assert reasons(plan, "merge.m") == ["step code version 1 -> 2"]
    assert plan["train.t"].status == "cached"


@pytest.mark.parametrize("harm", ["delete", "alter", "grow", "manifest", "folder", "stray"])
def test_a_damaged_artifact_is_made_again(project, harm: str) -> None:
    import shutil

    result = built(project)
    folder = result.artifacts["merge.m"].path
    weights = folder / "model" / "weights.bin"
    for path in (folder, folder / "model", weights, folder / "manifest.json"):
        path.chmod(0o755)
    text = weights.read_text()
    match harm:
        case "delete":
            weights.unlink()
        case "alter":
            weights.write_text("x" * len(text))
        case "grow":
            weights.write_text(text + "x")
        case "manifest":
            (folder / "manifest.json").write_text("{")
        case "folder":
            shutil.rmtree(folder)
        case "stray":
            (folder / "model" / "other").write_text("x")
    assert planned(project)["merge.m"].status == "run"
    why = reasons(planned(project), "merge.m")[0]
    assert why.startswith("artifact missing" if harm == "folder" else "artifact damaged: ")
    project.ran  # noqa: B018
    built(project)
    assert project.ran == ["merge.m"]
    assert planned(project).done


def test_licences_and_gates_do_not_rerun_what_they_do_not_touch(project) -> None:
    built(project)
    project.edit("CC0-1.0", "MIT")
    plan = planned(project)
    assert [p.step.id for p in plan if p.status != "cached"] == ["export.x"]
    assert reasons(plan, "export.x") == ['sources.words.license changed "CC0-1.0" -> "MIT"']
    project.edit("MIT", "CC0-1.0")
    project.edit("exact-match >= 0.5", "exact-match >= 0.6")
    assert [p.step.id for p in planned(project) if p.status != "cached"] == ["export.x"]


def test_checkpoint_frequency_is_not_part_of_the_result(project) -> None:
    built(project)
    assert planned(project, "train.t.args.checkpoint_every=7").done
    assert not planned(project, "train.t.args.epochs=7").done


def test_targets_and_force(project) -> None:
    plan = planned(project, targets=("t",))
    ids = ["source.words", "dataset.d", "base", "render.d", "train.t"]
    assert sorted(p.step.id for p in plan) == sorted(ids)
    with pytest.raises(UsageError, match="no step trian"):
        planned(project, targets=("trian.t",))
    with pytest.raises(UsageError, match="more than one step"):
        planned(project, targets=("d",))
    built(project)
    assert reasons(planned(project, force=("m",)), "merge.m") == ["forced"]


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ('sources.words.path="no.txt"', DataError, "file not found"),
        ('sources.words.path="word.txt"', DataError, "file not found"),
        ('sources.words.path="*.nothing"', DataError, "no file matches"),
        ('sources.words.path="-"', DataError, "standard input"),
        ('datasets.d.template.chat="no.jinja"', DataError, "template file not found"),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(
    project, setting: str, error: type, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        planned(project, setting)
    key = setting.partition("=")[0]
    assert caught.value.message.startswith("--set")
    assert f": {key}: " in caught.value.message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./nowhere", "model folder not found"),
        ("no-org/no-model", "model no-org/no-model: not on this machine"),
        (".", "holds no model"),
    ],
)
def test_a_missing_model_is_an_error_of_the_plan(project, model: str, message: str) -> None:
    project.edit('[base.scratch]\ncorpus = ["words"]', f'[base]\nmodel = "{model}"')
    with pytest.raises(EnvironmentMissing, match=message) as caught:
        planned(project)
    assert caught.value.exit_code == 6
    assert caught.value.fix
    lines = project.spec.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.startswith("model = "))
    assert caught.value.message.startswith(f"{project.spec}:{line}: base.model: ")
