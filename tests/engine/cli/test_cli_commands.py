"""The command line: names, exit codes, messages, JSON."""

import json
from pathlib import Path

import pytest

from tuneforge.cli import COMMANDS, main, overview


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_every_command_loads_and_has_help(capsys) -> None:
    for name in COMMANDS:
        code, out, err = call(capsys, name, "--help")
        assert code == 0, (name, err)
        assert f"tuneforge {name}" in out
        assert name in overview()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["buidl"], 2, "did you mean build?"),
        (["build", "--nothing"], 2, "No such option"),
        (["build", "nowhere.toml"], 2, "nowhere.toml"),
        (["verify", "nowhere"], 3, "no readable manifest.json"),
        (["init", "--recipe", "sft-lroa", "x.toml"], 2, "sft-lora"),
    ],
)
def test_errors_have_a_code_and_a_message(capsys, words, code: int, message: str) -> None:
    found, out, err = call(capsys, *words)
    assert found == code
    assert message in err
    assert out == ""


def test_help_and_version(capsys) -> None:
    assert call(capsys)[1] == overview()
    assert call(capsys, "--help")[1] == overview()
    assert call(capsys, "--version")[1].startswith("tuneforge ")


def test_init_writes_a_valid_spec_once(capsys, tmp_path: Path) -> None:
    spec = tmp_path / "new.toml"
    assert call(capsys, "init", str(spec))[0] == 0
    assert call(capsys, "validate", str(spec))[0] == 0
    code, _, err = call(capsys, "init", str(spec))
    assert code == 2
    assert "is there already" in err


def test_validate_lists_every_problem_as_json_too(capsys, project) -> None:
    project.edit("min = 3", "mni = 3")
    project.edit('method = "sft"', 'method = "sfft"')
    code, out, err = call(capsys, "validate", str(project.spec), "--json")
    assert code == 2
    problems = json.loads(out)["problems"]
    assert {p["key"] for p in problems} == {"datasets.d.filters[0].mni", "train.t.method"}
    assert all(p["line"] and p["fix"] for p in problems)
    assert err.startswith("error: ")


def test_plan_build_status_explain_verify_gc(capsys, project) -> None:
    spec = str(project.spec)
    code, out, _ = call(capsys, "plan", spec, "--json")
    assert code == 0
    assert {step["status"] for step in json.loads(out)["steps"]} == {"run"}
    code, out, _ = call(capsys, "build", spec, "--summary", str(project.folder / "s.md"))
    assert code == 0
    assert "everything of fake is built" in out
    assert (project.folder / "s.md").read_text().startswith("# fake")
    assert call(capsys, "build", spec)[1].endswith("nothing to do: all 8 steps are cached\n")

    code, out, _ = call(capsys, "status", spec, "--json")
    assert {step["status"] for step in json.loads(out)["steps"]} == {"cached"}
    assert json.loads(out)["builds"] == []

    project.edit("min = 3", "min = 4")
    code, out, _ = call(capsys, "explain", spec, "dataset.d")
    assert "because: datasets.d.filters[0].min changed 3 -> 4" in out
    assert "datasets.d.filters[0].min = 4   (spec.toml:12)" in out
    code, out, _ = call(capsys, "explain", spec, "train.t", "--json")
    assert json.loads(out)["status"] == "pending"

    export = project.folder / ".tuneforge" / "exports" / "x"
    assert call(capsys, "verify", str(export))[0] == 0
    weights = export.resolve() / "model" / "weights.bin"
    weights.chmod(0o644)
    weights.write_text(weights.read_text().upper())
    code, _, err = call(capsys, "verify", str(export))
    assert code == 3
    assert "model/weights.bin: its bytes differ" in err


def test_gc_keeps_what_is_needed_and_deletes_the_rest(capsys, project) -> None:
    spec = str(project.spec)
    call(capsys, "build", spec)
    project.edit("min = 3", "min = 4")
    call(capsys, "build", spec)
    _, out, _ = call(capsys, "gc", spec, "--json")
    listed = json.loads(out)
    assert not listed["deleted"]
    paths = [Path(folder["path"]) for folder in listed["folders"]]
    steps = {"dataset", "render", "train", "merge", "evaluate", "export"}
    assert {path.parent.parent.name for path in paths if path.is_dir()} == steps
    assert {path.name.split(".")[0] for path in paths if path.is_file()} == steps
    assert {path.parent.name for path in paths if path.is_file()} == {"locks"}
    assert json.loads(call(capsys, "gc", spec, "--json", "--keep", "1")[1])["folders"] == []
    call(capsys, "gc", spec, "--delete")
    assert not any(Path(folder["path"]).exists() for folder in listed["folders"])
    assert json.loads(call(capsys, "gc", spec, "--json")[1])["folders"] == []
    project.ran  # noqa: B018
    call(capsys, "build", spec)
    assert project.ran == []


def garbage(capsys, project) -> set[str]:
    _, out, _ = call(capsys, "gc", str(project.spec), "--json")
    root = project.folder / ".tuneforge"
    return {str(Path(one["path"]).relative_to(root)) for one in json.loads(out)["folders"]}


def test_gc_knows_the_judges_cache(capsys, project) -> None:
    call(capsys, "build", str(project.spec))
    answer = project.folder / ".tuneforge" / "cache" / "judge" / "ab" / "abcd.json"
    answer.parent.mkdir(parents=True)
    answer.write_text('{"score": 1, "reason": ""}')
    assert garbage(capsys, project) == {"cache/judge"}
    before = project.spec.read_text()
    judge = '{ kind = "judge", url = "http://localhost:1", model = "m", rubric = "r", min = 1.0 }'
    project.edit("filters = [", f"filters = [{judge}, ")
    assert garbage(capsys, project) == set()
    project.spec.write_text(before)
    call(capsys, "gc", str(project.spec), "--delete")
    assert not answer.parent.parent.exists()
    call(capsys, "build", str(project.spec))
    assert len(project.ran) == 8


def test_gc_knows_what_is_noted_of_steps_and_specs_that_are_gone(capsys, project) -> None:
    spec = str(project.spec)
    call(capsys, "build", spec)
    other = project.folder / "other.toml"
    other.write_text(project.spec.read_text().replace("[export.x]", "[export.other]"))
    call(capsys, "build", str(other))
    assert garbage(capsys, project) == set()
    other.unlink()
    found = garbage(capsys, project)
    assert {path.rpartition("/")[0] for path in found} == {
        "artifacts/export/other",
        "locks",
        "state",
    }
    assert "state/other.toml.json" in found
    call(capsys, "gc", spec, "--delete")
    assert garbage(capsys, project) == set()
    # A step that the spec itself has no more, though the last build of it is on record.
    text = project.spec.read_text()
    project.spec.write_text(text[: text.index("[export.x]")])
    found = garbage(capsys, project)
    assert {path.rpartition("/")[0] for path in found} == {"artifacts/export/x", "locks"}
    call(capsys, "gc", spec, "--delete")
    assert garbage(capsys, project) == set()
    call(capsys, "build", spec)
    assert "store.lock" not in found


def test_a_smoke_build_asks_no_judge_and_says_so(capsys, project) -> None:
    judge = '{ kind = "judge", url = "http://localhost:1", model = "m", rubric = "r", min = 1.0 }'
    project.edit("filters = [", f"filters = [{judge}, ")
    code, _, err = call(capsys, "build", str(project.spec), "--smoke")
    assert code == 0
    assert "datasets.d.filters[0]: skipped in a smoke build: the judge is not asked" in err
    smoke = project.folder / ".tuneforge" / "smoke"
    params = json.loads(next(smoke.glob("artifacts/dataset/d/*/manifest.json")).read_text())[
        "params"
    ]
    kinds = {value for key, value in params.items() if key.endswith(".kind")}
    assert kinds == {"length"}
    assert "skipped" not in call(capsys, "plan", str(project.spec))[2]


def test_plan_resolved_reads_back_as_the_same_spec(capsys, project) -> None:
    code, out, _ = call(capsys, "plan", str(project.spec), "--resolved")
    assert code == 0
    call(capsys, "build", str(project.spec))
    project.spec.write_text(out)
    assert "nothing to do" in call(capsys, "plan", str(project.spec))[1]


def test_a_smoke_build_is_small_apart_and_enforces_no_gate(capsys, project) -> None:
    (project.folder / "score").write_text("0.1")
    code, out, _ = call(capsys, "build", str(project.spec), "--smoke")
    assert code == 0
    assert "FAILED" in out
    assert not (project.folder / "spec.lock").exists()
    smoke = project.folder / ".tuneforge" / "smoke"
    manifest = json.loads(next(smoke.glob("artifacts/train/t/*/manifest.json")).read_text())
    assert manifest["params"]["train.t.args.max_steps"] == 2
    base = json.loads(next(smoke.glob("artifacts/base/base/*/manifest.json")).read_text())
    assert base["params"]["base.smoke"] is True
    assert list((project.folder / ".tuneforge").iterdir()) == [smoke]


def test_runs_of_an_empty_workspace(capsys, tmp_path: Path) -> None:
    assert call(capsys, "runs", "--workspace", str(tmp_path))[1] == "no runs\n"
