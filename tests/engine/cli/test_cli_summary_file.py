"""`build --summary` is written however a build ends, with the error that ended it."""

import json

import pytest

from tuneforge.cli import main


def summary(project, *arguments: str) -> tuple[int, str]:
    file = project.folder / "out" / "summary.md"
    file.parent.mkdir(exist_ok=True)
    code = main(["build", str(project.spec), "--json", "--summary", str(file), *arguments])
    return code, file.read_text()


def hook(project, step: str, what: str) -> None:
    (project.folder / "hooks.json").write_text(json.dumps({step: [what]}))


@pytest.mark.parametrize(
    ("kind", "code"),
    [("DataError", 3), ("TrainingFailed", 5), ("EnvironmentMissing", 6), ("Interrupted", 130)],
)
def test_a_step_that_fails(project, kind, code) -> None:
    hook(project, "train.t", f"error:{kind}")
    ended, text = summary(project)
    assert ended == code
    assert text.startswith(f"# fake\n\n**Failed with exit code {code}.**\n")
    assert "as asked\nfix: do not ask\n```" in text
    assert "## Data: d" in text, "what was done before is told, too"
    assert "| dataset.d |" in text
    assert ("- train.t: as asked" in text) == (kind != "Interrupted")


def test_a_spec_that_cannot_be_read(project) -> None:
    project.edit("min = 3", "mni = 3")
    code, text = summary(project)
    assert code == 2
    assert text.startswith("# spec.toml\n\n**Failed with exit code 2.**")
    assert "datasets.d.filters[0].mni" in text
    assert "fix:" in text


def test_a_frozen_build_that_differs(project) -> None:
    assert main(["build", str(project.spec), "--json"]) == 0
    project.edit("min = 3", "min = 4")
    code, text = summary(project, "--frozen")
    assert code == 7
    assert "datasets.d.filters[0].min changed 3 -> 4" in text


def test_a_gate_and_what_goes_on_without_it(project) -> None:
    (project.folder / "score").write_text("0.1")
    code, text = summary(project)
    assert code == 4
    assert "**Failed with exit code 4.**" in text
    assert "## Not built" in text


def test_every_failure_with_keep_going(project) -> None:
    hook(project, "train.t", "error:TrainingFailed")
    code, text = summary(project, "--keep-going")
    assert code == 5
    assert "## Failed\n\n- train.t: as asked" in text
    assert "train.t failed" in text


def test_a_bug(project, capsys) -> None:
    hook(project, "train.t", "bug")
    code, text = summary(project)
    assert code == 1
    assert "ZeroDivisionError: as asked\nfix: this is a bug" in text


def test_a_full_disk(project) -> None:
    hook(project, "train.t", "full")
    code, text = summary(project)
    assert code == 6
    assert "the disk is full" in text


def test_a_place_that_cannot_be_written_is_found_before_the_work(project, capsys) -> None:
    code = main(["build", str(project.spec), "--summary", str(project.folder / "no" / "s.md")])
    assert code == 2
    assert not (project.folder / "ran.log").exists()


def test_a_killed_build_leaves_a_page_that_says_so(project) -> None:
    from tuneforge.cli.summary_file import SummaryFile

    file = project.folder / "s.md"
    SummaryFile(file, project.spec, smoke=False).__enter__()
    assert file.read_text() == "# spec.toml\n\nThis did not come to an end.\n"


def test_an_error_is_not_hidden_by_a_summary_that_cannot_be_written(project, capsys) -> None:
    from tuneforge_specs.errors import DataError

    from tuneforge.cli.summary_file import SummaryFile

    folder = project.folder / "gone"
    folder.mkdir()

    def work() -> None:
        with SummaryFile(folder / "s.md", project.spec, smoke=False):
            (folder / "s.md").unlink()
            folder.rmdir()
            raise DataError("what happened")

    with pytest.raises(DataError, match="what happened"):
        work()
    assert "warning: no summary: " in capsys.readouterr().err
