"""Loading: files, includes, overrides, resolution."""

import contextlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuneforge_specs.errors import Problem, SpecError, TuneforgeError, UsageError
from tuneforge_specs.loader import LoadedSpec, load
from tuneforge_specs.write import to_toml

Load = Callable[..., LoadedSpec]
Problems = Callable[..., list[Problem]]


def test_every_default_is_filled(loaded: Load, small: str) -> None:
    spec = loaded(small)
    assert spec.resolved["train"]["task"]["adapter"]["r"] == 16
    assert spec.resolved["datasets"]["instruct"]["from"] == [{"source": "rows", "fraction": 1.0}]
    assert spec.resolved["build"]["seed"] == 17
    assert spec.warnings == ()


def test_the_resolved_spec_reads_back_as_itself(loaded: Load, small: str) -> None:
    first = loaded(small)
    second = loaded(to_toml(first.resolved))
    assert second.resolved == first.resolved
    assert second.spec == first.spec


def test_relative_paths_start_at_the_spec(write: Any, small: str, tmp_path: Path) -> None:
    assert load(write(small)).directory == tmp_path


def test_python_names_of_keys_are_not_keys(problems: Problems, small: str) -> None:
    found = problems(small.replace("from = [{ source", "mix = [{ source"))
    assert [p.key for p in found] == ["datasets.instruct.from", "datasets.instruct.mix"]


@pytest.mark.parametrize("make", ["missing", "folder", "folder with a spec"])
def test_what_is_no_file(make: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if make != "missing":
        path.mkdir()
    if make == "folder with a spec":
        (path / "spec.toml").touch()
    with pytest.raises(UsageError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    assert str(path) in caught.value.message
    assert caught.value.fix
    if make == "folder with a spec":
        assert str(path / "spec.toml") in caught.value.fix


def test_a_device_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    with pytest.raises(SpecError, match="is not a file"):
        load(pipe)


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b'spec = 1\nname = "caf\xe9"\n')
    with pytest.raises(SpecError) as caught:
        load(path)
    assert (
        str(caught.value)
        == f"{path}:2: is not UTF-8 text (byte 0xe9)\n  fix: save the file as UTF-8"
    )


def test_a_byte_order_mark_is_no_error(tmp_path: Path, small: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + small.encode())
    assert load(path).spec.build.name == "demo"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("spec = 1\nname = demo\n", 2, "Invalid value, column 8"),
        ("a = 1\na = 2\n", 2, "Cannot overwrite a value"),
        ("[a]\n[a]\n", 2, "Cannot declare"),
        ("a = [1,\n\n2\n", 3, "Unclosed array"),
        ("a b = 1\n", 1, "Expected '=' after a key"),
    ],
)
def test_broken_toml(problems: Problems, text: str, line: int, words: str) -> None:
    (found,) = problems(text)
    assert (found.line, found.key) == (line, "")
    assert words in found.message
    assert found.fix


@pytest.mark.parametrize(
    "text", ["a = " + "9" * 5000, "a = " + "[" * 3000 + "]" * 3000, "a = " + "[" * 50 + "]" * 50]
)
def test_hostile_toml_is_a_problem(problems: Problems, text: str) -> None:
    assert len(problems(text)) == 1


class TestInclude:
    def test_tables_join_and_the_including_file_wins(self, loaded: Load, small: str) -> None:
        text = 'include = ["common.toml"]\n' + small + "args = { epochs = 2 }\n"
        common = "[train.task.args]\nepochs = 9\nmicro_batch = 2\n[build]\nseed = 5\n"
        spec = loaded(text, common=common)
        args = spec.spec.train["task"].args
        assert (args.epochs, args.micro_batch) == (2, 2)
        assert spec.spec.build.seed == 5
        assert "include" not in spec.resolved

    def test_lists_replace(self, loaded: Load, small: str) -> None:
        common = '[datasets.instruct]\nfrom = [{ source = "bench" }, { source = "rows" }]\n'
        spec = loaded('include = ["common.toml"]\n' + small, common=common)
        assert [mix.source for mix in spec.spec.datasets["instruct"].mix] == ["rows"]

    def test_a_later_include_wins(self, loaded: Load, small: str) -> None:
        text = 'include = ["one.toml", "two.toml"]\n' + small
        spec = loaded(text, one="[build]\nseed = 1\n", two="[build]\nseed = 2\n")
        assert spec.spec.build.seed == 2

    def test_positions_know_the_file(self, loaded: Load, small: str, tmp_path: Path) -> None:
        text = 'include = ["common.toml"]\n' + small
        spec = loaded(text, common="# shared\n[train.task.args]\nmicro_batch = 2\n")
        common = str(tmp_path / "common.toml")
        assert spec.position("train.task.args.micro_batch") == (common, 3)
        assert spec.position("train.task.dataset") == (str(tmp_path / "spec.toml"), 15)
        assert spec.position("train.task.args.epochs") == (common, 2)

    def test_a_problem_in_it_names_it(self, problems: Problems, small: str, tmp_path: Path) -> None:
        found = problems('include = ["common.toml"]\n' + small, common="[build]\nsed = 1\n")
        assert [(p.file, p.line) for p in found] == [(str(tmp_path / "common.toml"), 2)]

    def test_a_missing_one(self, problems: Problems, small: str) -> None:
        (found,) = problems('include = [\n"no.toml"]\n' + small)
        assert (found.line, found.key) == (2, "include[0]")
        assert "there is no file" in found.message

    def test_a_circle(self, problems: Problems, small: str) -> None:
        text = 'include = ["one.toml"]\n' + small
        (found,) = problems(text, one='\n\ninclude = ["spec.toml"]\n')
        assert (found.line, found.key) == (3, "include[0]")
        assert "spec.toml -> one.toml -> spec.toml" in found.message

    def test_twice_by_different_ways_is_no_circle(self, loaded: Load, small: str) -> None:
        text = 'include = ["one.toml", "two.toml"]\n' + small
        both = 'include = ["both.toml"]\n'
        assert loaded(text, one=both, two=both, both="[build]\nseed = 3\n").spec.build.seed == 3

    @pytest.mark.parametrize("value", ['"common.toml"', "[1]", '[""]', "{}"])
    def test_of_the_wrong_form(self, problems: Problems, small: str, value: str) -> None:
        (found,) = problems(f"include = {value}\n" + small)
        assert found.key.startswith("include")

    def test_all_broken_files_are_named(self, problems: Problems, small: str) -> None:
        text = 'include = ["one.toml", "two.toml"]\n' + small
        assert len(problems(text, one="a = ", two="b = ")) == 2


class TestSet:
    @pytest.mark.parametrize(
        ("override", "path", "value"),
        [
            ("build.seed=3", ("build", "seed"), 3),
            ("build.name=other", ("build", "name"), "other"),
            ('build.name="other"', ("build", "name"), "other"),
            ("train.task.args.epochs = 2", ("train", "task", "args", "epochs"), 2.0),
            ("train.task.args.packing=true", ("train", "task", "args", "packing"), True),
            (
                "datasets.instruct.from[0].fraction=0.5",
                ("datasets", "instruct", "from", 0, "fraction"),
                0.5,
            ),
            (
                "datasets.instruct.dedup.near={}",
                ("datasets", "instruct", "dedup", "near", "ngram"),
                5,
            ),
            ("base.model=a=b", ("base", "model"), "a=b"),
        ],
    )
    def test_changes_a_key(
        self, loaded: Load, small: str, override: str, path: tuple[Any, ...], value: object
    ) -> None:
        found: Any = loaded(small, override).resolved
        for part in path:
            found = found[part]
        assert found == value

    def test_the_last_one_wins(self, loaded: Load, small: str) -> None:
        assert loaded(small, "build.seed=1", "build.seed=2").spec.build.seed == 2

    def test_its_position_is_itself(self, loaded: Load, small: str) -> None:
        spec = loaded(small, "train.task.args={epochs=2}")
        assert spec.position("train.task.args.epochs") == ("--set train.task.args={epochs=2}", 0)

    @pytest.mark.parametrize(
        ("override", "words", "fix"),
        [
            ("build.sead=1", "is not a key of `build`", "did you mean `seed`?"),
            ("train.tsk.args.epochs=1", "there is no train.tsk", "did you mean `task`?"),
            ("bild.name=x", "is not a key of a spec", "did you mean `build`?"),
            ("build.seed=many", "must be a whole number", ""),
            ("build.seed", "has no value", "--set key.path=value"),
            ("=3", "the key path is empty", "datasets.instruct"),
            ("a..b=3", "not a key path", "datasets.instruct"),
            ("datasets.instruct.from[3].fraction=1", "has 1 entries", "one of them"),
            ("datasets.instruct.filters[0].min=1", "there is no such list", "whole list"),
            ("build.name[0]=1", "build.name is not a list", "build.name=[...]"),
            ("spec.x=1", "spec is not a table", "spec as a whole"),
            ('build.name="x', "must be 1 to 64 letters", ""),
        ],
    )
    def test_what_is_wrong_with_one(
        self, problems: Problems, small: str, override: str, words: str, fix: str
    ) -> None:
        (found,) = problems(small, override)
        assert found.file == f"--set {override}"
        assert words in found.message
        assert fix in found.fix
        assert str(found).startswith(f"--set {override}: ")

    def test_a_whole_new_entry_may_be_set(self, loaded: Load, small: str) -> None:
        spec = loaded(small, 'sources.more={path="more.jsonl"}')
        assert "more" in spec.spec.sources


FRAGMENTS = """
spec = 1
[build]
name = "x"
seed = -1
[sources.a]
path = "p"
[base]
model = "m"
[train.t]
method = "sft"
adapter = 3
[[train]]
[export.e]
dataset = "d"
[datasets.d]
from = [{}]
filters = [1]
gate = ["x"]
[evaluate.e]
learning_rate = inf
warmup = nan
start = "t"
a.b.c = 1
dedup.near = true
metrics = [{kind = 3}]
format = 1979-05-27
args = []
[merge.m]
inputs = [{train = 't'}]
scratch = {}
"" = 1
"a.b" = {}
split.by = 07:32:00
"""
fragments = st.sampled_from([*FRAGMENTS.strip().splitlines(), f"epochs = {'9' * 400}"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(lines=st.lists(fragments, max_size=12))
def test_a_problem_never_a_traceback(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        load(path)
    except SpecError as error:
        for problem in error.problems:
            assert 1 <= problem.line <= max(1, len(lines))
            assert problem.message
            assert problem.file == str(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), override=st.text(max_size=20))
def test_no_traceback_on_any_bytes(content: bytes, override: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(TuneforgeError):
        load(path, [override])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    override=st.text(max_size=30)
    | st.from_regex(r"(build|train|spec)(\.[a-z]{1,4}|\[[0-9]\]){0,3}=.{0,9}", fullmatch=True)
)
def test_no_traceback_on_any_override(override: str, small: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(small, encoding="utf-8")
    with contextlib.suppress(SpecError):
        load(path, [override])


def test_the_loader_imports_nothing_heavy() -> None:
    code = "import sys, tuneforge_specs.loader; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "duckdb", "numpy", "pyarrow", "rich", "typer", "jinja2", "difflib"}
    assert heavy.isdisjoint(output)
    assert "tuneforge_specs.explain" not in output


def test_the_small_spec_is_valid_toml(small: str) -> None:
    assert tomllib.loads(small)["spec"] == 1


@pytest.mark.parametrize("override", [[], ['build.name="a\\u0000b"']])
def test_a_nul_character_is_a_problem_wherever_it_stands(
    problems: Problems, small: str, override: list[str]
) -> None:
    text = small if override else small + '\n[sources.odd]\npath = ["a", "b\\u0000c"]\n'
    found = [p for p in problems(text, *override) if "NUL" in p.message]
    assert [p.key for p in found] == (["build.name"] if override else ["sources.odd.path[1]"])
    assert found[0].fix
