"""Input that means harm, or was made by accident: an error or a ledger row, and bounded memory."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tuneforge_datastore.ingest.lines import MAX_ROW_BYTES
from tuneforge_datastore.nesting import DEEPEST, depth
from tuneforge_datastore.snapshot import write_snapshot
from tuneforge_datastore.sql import query
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


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


# Python reads up to about 990 levels, and writes fewer from deep within a program.
@pytest.mark.parametrize("levels", [101, 400, 995])
@pytest.mark.parametrize("column", ["note", "tools", "completion", "messages"])
def test_no_depth_of_nesting_is_a_crash(bench: Any, levels: int, column: str) -> None:
    call = '{"name": "f", "arguments": {"a": %s}}'
    values = {
        "note": nested(levels),
        "tools": f"[{nested(levels)}]",
        "completion": nested(levels),
        "messages": f'[{{"role": "assistant", "tool_calls": [{call % nested(levels)}]}}]',
    }
    fields = {"prompt": '"a"', "completion": '"b"', column: values[column]}
    if column == "messages":
        fields = {"messages": values[column]}
    row = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    spoken = json.dumps({"messages": [{"role": "user", "content": "x"}]})
    good = spoken if column == "messages" else GOOD
    bench.file("rows.jsonl", f"{good}\n{row}\n")
    folder = bench.ingest(on_error="skip")
    records = pq.read_metadata(folder / "records.parquet").num_rows
    rejects = pq.read_table(folder / "rejects.parquet").to_pylist()
    assert records + len(rejects) == 2
    if column != "completion" or rejects:  # what becomes text is read by nobody as JSON
        assert "nested" in rejects[0]["reason"]


def test_what_can_be_parsed_but_not_written_again_is_refused(bench: Any) -> None:
    """Just below the parser's limit, which depends on the stack, writing ends in an exception."""
    rows = [f'{{"prompt": "a", "completion": "b", "n": {nested(n)}}}' for n in range(850, 1000)]
    bench.file("rows.jsonl", "\n".join([GOOD, *rows, GOOD]))
    folder = bench.ingest(on_error="skip")
    assert pq.read_metadata(folder / "records.parquet").num_rows == 2
    reasons = pq.read_table(folder / "rejects.parquet").column("reason").to_pylist()
    assert all("nested" in reason for reason in reasons)


def test_what_is_nested_as_deeply_as_may_be_goes_through_to_the_end(bench: Any) -> None:
    """Redaction, filters, selection, SQL and exports all read the JSON that reading let in."""
    deep = '{"a": ' * (DEEPEST - 2) + '["b@c.org"]' + "}" * (DEEPEST - 2)
    row = f'{{"prompt": "a", "completion": "b", "n": 1, "note": {deep}}}'
    bench.file("rows.jsonl", f"{row}\n")
    bench.curate(
        {"src": bench.ingest()},
        filters=[{"kind": "pii", "action": "redact"}, {"kind": "column", "column": "n", "min": 1}],
        select=[{"kind": "cap", "by": "note", "max": 1}],
    )
    (kept,) = bench.kept()
    assert depth(kept["meta"]) == DEEPEST
    assert "[EMAIL]" in kept["meta"]
    (bench.folder / "out").mkdir()
    write_snapshot(bench.folder / "dataset", bench.folder / "out", "jsonl")
    workspace = bench.publish(("dataset", "mine", bench.folder / "dataset"))
    found = query(workspace, "SELECT meta->'note'->'a' FROM mine WHERE json_valid(meta)")
    assert "[EMAIL]" in found.rows[0][0]


_WIDE = """
import resource, sys
from pathlib import Path
from tuneforge_datastore.ingest.source import ingest
from tuneforge_specs.sources import PathSource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = ingest("s", PathSource(path=sys.argv[1], on_error="skip"), Path("."), Path(sys.argv[2]))
print(made.records, made.rejected)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_json_that_grows_in_memory_is_bounded(bench: Any) -> None:
    """A row of empty lists takes 27 times its bytes when it is parsed."""
    file = bench.folder / "wide.jsonl"
    with file.open("wb") as out:
        out.write(f"{GOOD}\n".encode() + b'{"prompt": "a", "completion": "b", "m": [')
        out.write(b"[]," * (MAX_ROW_BYTES // 3 + 1))
        out.write(b"[]]}\n")
    command = [sys.executable, "-c", _WIDE, str(file), str(bench.folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts, grown = done.stdout.splitlines()
    assert counts == "1 1"
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 450 << 20


def test_a_small_parquet_file_that_unpacks_to_gigabytes(bench: Any) -> None:
    cells = pa.DictionaryArray.from_arrays(
        pa.array([0] + [1] * 60, pa.int32()), ["b", "x" * (MAX_ROW_BYTES + 1)]
    )
    file = bench.folder / "bomb.parquet"
    table = pa.table({"prompt": ["a"] * 61, "completion": cells})
    pq.write_table(table, file, compression="zstd", store_schema=False)
    assert file.stat().st_size < 100_000
    command = [sys.executable, "-c", _WIDE, str(file), str(bench.folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts, grown = done.stdout.splitlines()
    assert counts == "1 60"
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 1600 << 20  # two batches; all at once would be over 2 GiB
    with pytest.raises(DataError, match=r"bomb\.parquet:2: the row is larger than 33,554,432"):
        bench.ingest("bomb.parquet")


def opened(file: Path) -> Any:
    if file.suffix == ".gz":
        return gzip.open(file, "wb", compresslevel=1)
    return zstandard.open(file, "wb") if file.suffix == ".zst" else file.open("wb")


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


@pytest.mark.parametrize(
    "name", ["line.jsonl", "line.json", "line.csv", "line.txt", "line.jsonl.gz", "line.csv.zst"]
)
def test_a_line_of_200_megabytes_is_refused_in_bounded_memory(bench: Any, name: str) -> None:
    file = bench.folder / name
    with opened(file) as out:
        out.write(b"prompt,completion\n" if ".csv" in name else b'{"prompt": "')
        for _ in range(200):
            out.write(b"x" * (1 << 20))
    command = [sys.executable, "-c", _READ, str(file), str(bench.folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    assert "longer than 33,554,432" in message
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 450 << 20
