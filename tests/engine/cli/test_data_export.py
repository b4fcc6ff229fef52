"""``tuneforge data export``, and readers of the store, around real builds of a dataset."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneforge.cli import main

SPEC = """
spec = 1
[build]
name = "shop"
[sources.rows]
path = "rows.jsonl"
license = "CC-BY-4.0"
[datasets.mine]
from = [{ source = "rows" }]
clean = { whitespace = false }
filters = [{ kind = "length", min = 2 }]
dedup = { near = {} }
split = { eval = 0.3, by = "record" }
[base.scratch]
corpus = ["rows"]
"""
BUILD = ("build", "spec.toml", "--only", "dataset.mine")


def write(folder: Path, rows: list[dict[str, str]]) -> None:
    (folder / "spec.toml").write_text(SPEC)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one dataset, built from ten rows; the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"question {n}", "completion": f"the answer is {n}"} for n in range(8)]
    write(
        tmp_path,
        [*rows, {"prompt": "a", "completion": "b"}, {"prompt": "cafÃ©", "completion": "c d"}],
    )
    assert main(BUILD) == 0
    return tmp_path


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_a_snapshot_and_its_card(
    built: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for out in ("one", "two"):
        assert main(["data", "export", "mine", "--out", out, "--format", form]) == 0
    told = capsys.readouterr().out
    files = sorted(path.name for path in (built / "one").iterdir())
    assert files == ["README.md", f"eval.{form}", f"train.{form}"]
    assert f"one/train.{form}: " in told
    for name in files:
        assert (built / "one" / name).read_bytes() == (built / "two" / name).read_bytes()
    card = (built / "one" / "README.md").read_text()
    assert 'license: "cc-by-4.0"' in card
    assert "| rows | CC-BY-4.0 | 10 | 0 | 9 |" in card
    assert "| filters[0] | length | 10 | 1 | 0 | 9 |" in card
    assert "| clean | mojibake | 10 | 0 | 1 | 10 |" in card
    assert ("no spreadsheet runs it" in card) == (form == "csv")
    assert str(built) not in card


def test_licences_come_from_the_spec(built: Path) -> None:
    other = SPEC.replace("CC-BY-4.0", "MIT")
    (built / "other.toml").write_text(other)
    assert main(["data", "export", "mine", "--out", "a", "--spec", "other.toml"]) == 0
    assert "| rows | MIT |" in (built / "a" / "README.md").read_text()
    (built / "spec.toml").unlink()
    assert main(["data", "export", "mine", "--out", "b"]) == 0
    assert "| rows | unknown |" in (built / "b" / "README.md").read_text()


def test_what_cannot_be_exported(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (built / "full").mkdir()
    (built / "full" / "mine.txt").write_text("keep me")
    assert main(["data", "export", "mine", "--out", "full"]) == 2
    assert "full is there already" in capsys.readouterr().err
    assert [path.name for path in (built / "full").iterdir()] == ["mine.txt"]
    assert main(["data", "export", "yours", "--out", "new"]) == 2
    assert "it has mine" in capsys.readouterr().err
    assert not (built / "new").exists()


def test_a_reader_is_never_locked_out_of_a_curation(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(5)
    rows = [
        {"prompt": f"q {n}", "completion": " ".join(str(rng.randrange(9999)) for _ in range(60))}
        for n in range(8000)
    ]
    write(built, rows)
    command = [sys.executable, "-m", "tuneforge", *BUILD]
    slowest = 0.0
    seen = set()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as build:
        while build.poll() is None:
            begun = time.monotonic()
            assert main(["sql", "SELECT count(*) AS n FROM mine", "--format", "csv"]) == 0
            slowest = max(slowest, time.monotonic() - begun)
            seen.add(capsys.readouterr().out.split()[1])
        assert build.stderr is not None
        assert build.returncode == 0, build.stderr.read().decode()
    # A separate process sees the same, and only whole datasets were ever seen.
    ask = [*command[:3], "sql", "SELECT count(*) AS n FROM mine", "--format", "csv"]
    last = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[1]
    assert seen <= {"9", last}
    assert int(last) > 5000
    assert slowest < 5.0
