"""Which files a spec names, and how they are called."""

from pathlib import Path

import pytest
from tuneforge_specs.errors import DataError
from tuneforge_specs.sources import PathSource, SqlSource

from tuneforge.plan.files import model_files, source_files, sql_files, template_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jsonl", "b.jsonl", "deep/c.jsonl", "deep/.hidden", "it's.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(folder: Path, *patterns: str) -> list[str]:
    source = PathSource(path=patterns[0] if len(patterns) == 1 else patterns)
    return list(source_files("s", source, folder, folder / "stdin"))


def test_paths_globs_and_folders_in_a_stable_order(folder: Path) -> None:
    assert names(folder, "data/a.jsonl") == ["data/a.jsonl"]
    assert names(folder, "data/*.jsonl") == ["data/a.jsonl", "data/b.jsonl"]
    assert names(folder, "data/**/*.jsonl") == ["data/a.jsonl", "data/b.jsonl", "data/deep/c.jsonl"]
    assert names(folder, "data/deep") == ["data/deep/c.jsonl"]
    assert names(folder, "data/b.jsonl", "data/*.jsonl") == ["data/b.jsonl", "data/a.jsonl"]


def test_names_are_relative_unless_written_absolute(folder: Path) -> None:
    below = folder / "data" / "deep"
    assert names(below, "../a.jsonl") == ["../a.jsonl"]
    absolute = str(folder / "data" / "a.jsonl")
    assert names(below, absolute) == [absolute]


@pytest.mark.parametrize(
    ("pattern", "message", "fix"),
    [
        ("data/a.json", "file not found", "did you mean a.jsonl?"),
        ("nodata/*.jsonl", "no file matches", "correct the pattern"),
        ("empty", "the folder is empty", "put data files in it"),
    ],
)
def test_what_is_missing_is_said(folder: Path, pattern: str, message: str, fix: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        names(folder, pattern)
    assert caught.value.fix == fix


def test_the_files_of_a_query_are_found_in_its_literals(folder: Path) -> None:
    query = (
        "SELECT * FROM 'data/a.jsonl' JOIN read_csv('data/it''s.csv') ON x = 'no file' "
        "UNION SELECT * FROM read_json('data/*.jsonl')"
    )
    found = sql_files(SqlSource(sql=query), folder)
    assert list(found) == ["data/a.jsonl", "data/it's.csv", "data/b.jsonl"]


def test_model_folders_leave_out_hidden_files(folder: Path) -> None:
    assert list(model_files(folder / "data" / "deep", "model")) == ["model/c.jsonl"]


def test_only_jinja_names_are_files(folder: Path) -> None:
    assert template_file("chatml", folder) == {}
    (folder / "t.jinja").write_text("x")
    assert template_file("t.jinja", folder) == {"t.jinja": folder / "t.jinja"}
