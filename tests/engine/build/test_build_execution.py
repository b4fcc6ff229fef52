"""What a build does around its steps: cut-off, gates, failures, the lock file, the log."""

import json
import stat

import pytest
from tuneforge_specs.errors import (
    DataError,
    EnvironmentMissing,
    GateFailed,
    NotFrozen,
    TrainingFailed,
)
from tuneforge_specs.loader import load

from tuneforge.build.result import BuildOptions
from tuneforge.build.session import build
from tuneforge.console.base import Silent
from tuneforge.manifest import compare, read_manifest
from tuneforge.workspace import Workspace


def built(project, *sets: str, **options):
    loaded = load(project.spec, sets)
    return build(loaded, Workspace.of(project.spec), Silent(), BuildOptions(**options))


def events(result) -> list[dict]:
    lines = (result.folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_only_what_depends_on_an_edit_runs(project) -> None:
    built(project)
    project.ran  # noqa: B018
    project.edit("min = 3", "min = 4")
    built(project)
    assert project.ran == ["dataset.d", "render.d", "train.t", "merge.m", "evaluate.e", "export.x"]


def test_an_unchanged_output_stops_the_rebuild(project) -> None:
    built(project)
    (project.folder / "words.txt").write_text("a bb\nccc dddd   eeeee")  # the same words
    project.ran  # noqa: B018
    result = built(project)
    assert project.ran == ["source.words"]
    assert list(result.ran) == ["source.words"]
    project.edit("min = 3", ["min = 2", " # below all that is dropped", ""][0])
    project.edit("min = 2", "min = 3")
    built(project)
    assert project.ran == []


def test_going_back_uses_the_old_artifacts(project) -> None:
    built(project)
    project.edit("min = 3", "min = 5")
    built(project)
    project.ran  # noqa: B018
    project.edit("min = 5", "min = 3")
    built(project)
    assert project.ran == []


def test_artifacts_are_whole_read_only_and_described(project) -> None:
    result = built(project)
    for artifact in result.artifacts.values():
        manifest = read_manifest(artifact.path)
        assert compare(artifact.path, manifest) == []
        assert manifest["key"].startswith(artifact.path.name)
        for path in [artifact.path, *artifact.path.rglob("*")]:
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    merge = result.artifacts["merge.m"].manifest
    assert merge["inputs"]["train.t"]["digest"] == result.artifacts["train.t"].digest
    assert merge["notes"] == {"device": "none"}
    assert merge["seed"] == 17
    export = project.folder / ".tuneforge" / "exports" / "x"
    assert export.resolve() == result.artifacts["export.x"].path


def test_a_failing_gate_ends_with_4_and_leaves_out_the_export(project) -> None:
    (project.folder / "score").write_text("0.4")
    result = built(project)
    assert isinstance(result.error, GateFailed)
    assert "exact-match >= 0.5 failed: 0.4, needs 0.5" in result.error.message
    assert "export.x" not in project.ran
    assert list(result.skipped) == ["export.x"]
    assert not (project.folder / ".tuneforge" / "exports").exists()
    assert events(result)[-1]["exit_code"] == 4
    assert not (project.folder / "spec.lock").exists()


def test_editing_a_gate_checks_it_again_and_remakes_only_the_export_whose_card_quotes_it(
    project,
) -> None:
    built(project)
    project.ran  # noqa: B018
    project.edit("exact-match >= 0.5", "exact-match > base + 0.6")
    result = built(project)
    assert project.ran == []
    assert list(result.skipped) == ["export.x"]
    project.edit("base + 0.6", "base + 0.4")
    assert built(project).error is None
    assert project.ran == ["export.x"]


def test_a_gate_on_what_was_not_measured_is_an_error(project) -> None:
    built(project)
    project.edit('gate = ["exact-match >= 0.5"]', 'gate = ["loss < base"]')
    with pytest.raises(DataError, match="needs loss of the base"):
        built(project)


def test_a_failed_step_stops_the_build_and_leaves_nothing(project) -> None:
    project.hooks(train__t=["error:TrainingFailed"])
    with pytest.raises(TrainingFailed, match="as asked"):
        built(project)
    assert "merge.m" not in project.ran
    assert not list((project.folder / ".tuneforge" / "tmp").iterdir())
    assert not (project.folder / ".tuneforge" / "artifacts" / "train").exists()
    project.hooks()
    built(project)
    assert project.ran == ["train.t", "merge.m", "evaluate.e", "export.x"]


def test_keep_going_does_what_does_not_depend_on_the_failure(project) -> None:
    project.hooks(base=["error:DataError"])
    with pytest.raises(DataError):
        built(project, keep_going=True)
    assert sorted(project.ran) == ["base", "dataset.d", "source.words"]


def test_a_full_disk_is_said_and_leaves_nothing(project) -> None:
    project.hooks(merge__m=["full"])
    with pytest.raises(EnvironmentMissing, match=r"merge\.m: the disk is full") as caught:
        built(project)
    assert "tuneforge gc" in caught.value.fix
    assert not list((project.folder / ".tuneforge" / "tmp").iterdir())
    project.hooks()
    built(project)


def test_a_full_disk_while_committing_leaves_nothing(project, monkeypatch) -> None:
    from tuneforge.build import commit

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(commit, "write_manifest", full)
        with pytest.raises(EnvironmentMissing, match="the disk is full"):
            built(project)
    assert not list((project.folder / ".tuneforge" / "artifacts").rglob("*.txt"))
    assert built(project).error is None


def test_a_workspace_that_cannot_be_made_is_exit_6(project) -> None:
    place = project.folder / "file"
    place.write_text("not a folder")
    with pytest.raises(EnvironmentMissing, match="not writable") as caught:
        build(load(project.spec), Workspace(place / "w"), Silent(), BuildOptions())
    assert caught.value.exit_code == 6


def test_forced_steps_run_and_replace(project) -> None:
    before = built(project).artifacts["merge.m"]
    project.ran  # noqa: B018
    result = built(project, force=("merge.m",))
    assert project.ran == ["merge.m"]
    assert result.artifacts["merge.m"].digest == before.digest
    assert result.artifacts["merge.m"].manifest["created"] > before.manifest["created"]


def test_targets_build_what_they_need(project) -> None:
    result = built(project, targets=("dataset.d",))
    assert project.ran == ["source.words", "dataset.d"]
    assert set(result.artifacts) == {"source.words", "dataset.d"}
    assert not (project.folder / "spec.lock").exists()


def test_frozen_holds_to_the_lock_file_and_lists_differences(project) -> None:
    with pytest.raises(NotFrozen, match="no lock file"):
        built(project, frozen=True)
    built(project)
    project.ran  # noqa: B018
    assert built(project, frozen=True).error is None
    project.edit("min = 3", "min = 4")
    (project.folder / "words.txt").write_text("other words")
    with pytest.raises(NotFrozen) as caught:
        built(project, frozen=True)
    assert caught.value.exit_code == 7
    assert "dataset.d: datasets.d.filters[0].min changed 3 -> 4" in caught.value.message
    assert "source.words: file words.txt changed" in caught.value.message
    assert project.ran == []


def test_frozen_builds_elsewhere_from_the_lock(project, tmp_path) -> None:
    built(project)
    lock = (project.folder / "spec.lock").read_bytes()
    loaded = load(project.spec)
    elsewhere = Workspace(tmp_path / "elsewhere")
    result = build(loaded, elsewhere, Silent(), BuildOptions(frozen=True))
    assert len(result.ran) == 8
    assert (project.folder / "spec.lock").read_bytes() == lock


def test_frozen_refuses_other_bytes_of_the_same_recipe(project, tmp_path) -> None:
    built(project)
    path = project.folder / "spec.lock"
    lock = json.loads(path.read_text())
    assert "digest" not in lock["steps"]["merge.m"]
    lock["steps"]["dataset.d"]["digest"] = "0" * 64
    path.write_text(json.dumps(lock))
    with pytest.raises(NotFrozen, match=r"dataset\.d: its output has digest"):
        build(load(project.spec), Workspace(tmp_path / "w"), Silent(), BuildOptions(frozen=True))


def test_overrides_do_not_touch_the_lock_file_of_the_cli(project, capsys) -> None:
    from tuneforge.cli import main

    assert main(["build", str(project.spec), "--set", "build.seed=3"]) == 0
    assert not (project.folder / "spec.lock").exists()
    assert main(["build", str(project.spec)]) == 0
    assert (project.folder / "spec.lock").exists()


def test_the_log_tells_the_whole_build(project) -> None:
    result = built(project)
    told = events(result)
    assert {event["v"] for event in told} == {1}
    assert told[0]["event"] == "build_started"
    assert told[1]["event"] == "plan"
    assert told[-1]["event"] == "build_done"
    assert [e["step"] for e in told if e["event"] == "step_done"] == told[0]["steps"]
    started = next(e for e in told if e["event"] == "step_started")
    assert started["why"] == ["never built"]


def test_what_is_current_is_published(project) -> None:
    result = built(project)
    published = json.loads((project.folder / ".tuneforge" / "published").read_text())
    assert published == {step: artifact.key for step, artifact in result.artifacts.items()}


def test_a_partial_build_keeps_the_rest_published_and_a_whole_one_forgets_what_is_gone(
    project,
) -> None:
    whole = built(project)
    project.edit("min = 3", "min = 4")
    part = built(project, targets=("dataset.d",))
    place = project.folder / ".tuneforge" / "published"
    published = json.loads(place.read_text())
    assert published["dataset.d"] == part.artifacts["dataset.d"].key
    assert published["train.t"] == whole.artifacts["train.t"].key
    text = project.spec.read_text()
    project.spec.write_text(text[: text.index("[evaluate.e]")])
    built(project)
    assert "export.x" not in json.loads(place.read_text())
