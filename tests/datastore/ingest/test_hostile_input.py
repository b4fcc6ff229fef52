"""Input that means harm, or was made by accident: an error or a ledger row, and bounded memory."""

import json
import subprocess
import sys
from typing import Any

import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import DataError

GOOD = '{"prompt": "a", "completion": "b"}'
BAD = {
    "not-utf8": b'{"prompt": "\xff\xfe", "completion": "b"}',
    "half-surrogate": b'{"prompt": "\\ud800", "completion": "b"}',
    "half-surrogate-in-meta": b'{"prompt": "a", "completion": "b", "note": "\\udfff"}',
    "raw-nul": b'{"prompt": "\x00", "completion": "b"}',
    "deep": b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b', "completion": "b"}',
    "nan": b'{"prompt": "a", "completion": NaN}',
    "number": b"3",
    "nothing": b"{}",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_an_error_or_a_reject(bench: Any, name: str) -> None:
    bench.file("rows.jsonl", GOOD.encode() + b"\n" + BAD[name] + b"\n" + GOOD.encode() + b"\n")
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: "):
        bench.ingest()
    folder = bench.ingest(on_error="skip")
    assert pq.read_metadata(folder / "records.parquet").num_rows == 2
    (reject,) = pq.read_table(folder / "rejects.parquet").to_pylist()
    assert (reject["id"], reject["line"]) == ("src:1", 2)


def test_bytes_that_are_not_utf8_in_other_containers(bench: Any) -> None:
    bench.file(
        "a.json", b'[{"prompt": "a", "completion": "b"},\n{"prompt": "\xff", "completion": ""}]'
    )
    bench.file("a.csv", b"prompt,completion\na,b\n\xff,d\n")
    bench.file("a.txt", b"fine\nnot \xff fine\n")
    for name, line in (("a.json", 2), ("a.csv", 3), ("a.txt", 2)):
        with pytest.raises(DataError, match=rf"{name}:{line}: not UTF-8"):
            bench.ingest(name)
        assert len(bench.records(name, on_error="skip")) == 1


def test_an_escaped_nul_is_text_and_survives(bench: Any) -> None:
    bench.file("rows.jsonl", '{"prompt": "a\\u0000b", "completion": "c"}\n')
    assert [row["prompt"] for row in bench.records()] == ["a\0b"]


@pytest.mark.parametrize(
    "name",
    ["x'; DROP TABLE records; --.jsonl", 'say "hi".jsonl', "ünï cödé [1].jsonl", "a*b?.jsonl"],
)
def test_file_names_are_names(bench: Any, name: str) -> None:
    bench.file(name, GOOD + "\n")
    assert [row["file"] for row in bench.records(name)] == [name]


def test_column_names_are_names(bench: Any) -> None:
    evil = "x'); DROP TABLE records; --"
    bench.file("rows.jsonl", [{evil: "a", "$.b": "b", 'c"': "d"}])
    (row,) = bench.records(columns={"prompt": evil, "completion": "$.b"})
    assert (row["prompt"], row["completion"], json.loads(row["meta"])) == ("a", "b", {'c"': "d"})


def test_json_in_json_in_json_stays_text(bench: Any) -> None:
    nested = "x"
    for _ in range(12):
        nested = json.dumps([nested])
    bench.file("rows.jsonl", [{"prompt": "a", "completion": nested}])
    assert [row["completion"] for row in bench.records()] == [nested]


_READ = """
import resource, sys
from pathlib import Path
from tuneforge_datastore.ingest.source import ingest
from tuneforge_specs.errors import DataError
from tuneforge_specs.sources import PathSource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ingest("s", PathSource(path=sys.argv[1]), Path("."), Path(sys.argv[2]))
except DataError as error:
    print(error.message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["line.jsonl", "line.json", "line.csv", "line.txt"])
def test_a_line_of_200_megabytes_is_refused_in_bounded_memory(bench: Any, name: str) -> None:
    file = bench.folder / name
    with file.open("wb") as out:
        out.write(b"prompt,completion\n" if name.endswith("csv") else b'{"prompt": "')
        for _ in range(200):
            out.write(b"x" * (1 << 20))
    command = [sys.executable, "-c", _READ, str(file), str(bench.folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    assert "longer than 67,108,864" in message
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 450 << 20
