"""Every container a source may be in gives the same rows."""

import csv
import gzip
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_datastore.ingest.jsondocument import read_json
from tuneforge_datastore.ingest.jsonlines import read_jsonl
from tuneforge_datastore.ingest.lines import TooLong, lines
from tuneforge_datastore.ingest.rows import Broken, BrokenFile, Row
from tuneforge_datastore.ingest.tables import read_csv
from tuneforge_specs.errors import DataError

ROWS = [
    {"prompt": "Who?", "completion": "Zoë, “the” poet"},
    {"prompt": "a,b;c\nnext line", "completion": '{"quoted": "yes"}'},
    {"prompt": "東京", "completion": "日本の首都"},
]


def as_csv(delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["prompt", "completion"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def as_parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FILES = {
    "rows.jsonl": JSONL,
    "rows.ndjson": JSONL.replace(b"\n", b"\r\n"),
    "blank-lines.jsonl": b"\xef\xbb\xbf\n  \n" + JSONL + b"\n",
    "no-last-newline.jsonl": JSONL[:-1],
    "array.json": json.dumps(ROWS).encode(),
    "pretty.json": b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "lines.json": JSONL,
    "wrapped.json": json.dumps({"version": "1", "data": ROWS}).encode(),
    "rows.csv": as_csv(","),
    "semicolon.csv": as_csv(";"),
    "rows.tsv": as_csv("\t"),
    "rows.parquet": as_parquet(),
    "rows.jsonl.gz": gzip.compress(JSONL),
    "rows.csv.gz": gzip.compress(as_csv(",")),
    "rows.jsonl.zst": zstandard.compress(JSONL),
    "array.json.zst": zstandard.compress(json.dumps(ROWS).encode()),
    "rows.parquet.gz": gzip.compress(as_parquet()),
    "no-suffix": JSONL,
    "array-no-suffix": json.dumps(ROWS).encode(),
    "parquet-no-suffix": as_parquet(),
}


@pytest.mark.parametrize("name", FILES)
def test_every_container_gives_the_same_rows(bench: Any, name: str) -> None:
    (bench.folder / name).write_bytes(FILES[name])
    found = [
        {"prompt": row["prompt"], "completion": row["completion"]} for row in bench.records(name)
    ]
    assert found == ROWS


def test_one_json_object_is_one_row(bench: Any) -> None:
    bench.file("one.json", json.dumps(ROWS[0], indent=1))
    assert [row["prompt"] for row in bench.records("one.json")] == ["Who?"]


def test_plain_text_is_a_record_for_each_line(bench: Any) -> None:
    bench.file("a.txt", "first\n\n  \nsecond\r\n")
    found = bench.records("a.txt")
    assert [(row["kind"], row["text"], row["line"]) for row in found] == [
        ("text", "first", 1),
        ("text", "second", 4),
    ]
    assert [row["completion"] for row in found] == ["first", "second"]


def test_globs_folders_and_lists(bench: Any) -> None:
    for name in ("b/2.jsonl", "b/1.jsonl", "b/deep/3.jsonl.gz"):
        bench.file(name, [{"prompt": name, "completion": "x"}])
    bench.file("b/README.md", "no data")
    bench.file("b/.hidden.jsonl", "{")
    prompts = {path: [row["prompt"] for row in bench.records(path)] for path in ("b", "b/*.jsonl")}
    assert prompts["b"] == ["b/1.jsonl", "b/2.jsonl", "b/deep/3.jsonl.gz"]
    assert prompts["b/*.jsonl"] == ["b/1.jsonl", "b/2.jsonl"]
    listed = bench.records(["b/2.jsonl", "b/*.jsonl"])
    assert [row["prompt"] for row in listed] == ["b/2.jsonl", "b/1.jsonl"]
    assert [row["id"] for row in listed] == ["src:0", "src:1"]
    assert [row["file"] for row in listed] == ["b/2.jsonl", "b/1.jsonl"]


@pytest.mark.parametrize("content", [JSONL, json.dumps(ROWS).encode(), as_parquet()])
def test_standard_input(bench: Any, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    pipe = io.BufferedReader(io.BytesIO(content))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    assert [row["prompt"] for row in bench.records("-")] == [row["prompt"] for row in ROWS]


@pytest.mark.parametrize(
    ("path", "message", "fix"),
    [
        ("raws.jsonl", "no such file", "did you mean"),
        ("nowhere/x.jsonl", "no such file", "does not exist"),
        ("*.csv", "no file matches", "pattern"),
        ("empty", "no data file in this folder", ".jsonl"),
    ],
)
def test_nothing_there(bench: Any, path: str, message: str, fix: str) -> None:
    bench.file("rows.jsonl", ROWS)
    (bench.folder / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        bench.records(path)
    assert message in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_an_empty_file_is_an_error(bench: Any, name: str) -> None:
    bench.file(name, "")
    with pytest.raises(DataError, match=r"no rows in a\."):
        bench.records(name)


@pytest.mark.parametrize("cut", [1, 7, 20, 37])
def test_lines_are_whole_wherever_a_chunk_ends(cut: int) -> None:
    text = b"alpha\nbeta\r\n\ngamma" * 3
    stream = Trickle(text, cut)
    assert list(lines(stream)) == text.replace(b"\r\n", b"\n").split(b"\n")  # type: ignore[arg-type]


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self.size = size

    def read(self, _size: int | None = -1, /) -> bytes:
        return super().read(self.size)


def test_a_line_too_long_is_told_and_passed_over() -> None:
    stream = Trickle(b"short\n" + b"x" * 1000 + b"\nshort again\n", 64)
    found = list(lines(stream, limit=100))
    assert [type(line) for line in found] == [bytes, TooLong, bytes]
    assert found[2] == b"short again"
    rows = list(read_jsonl(io.BytesIO(b'{"a": "' + b"x" * 500 + b'"}\n{"a": 1}\n'), limit=100))
    assert rows == [Broken(1, "the line is longer than 100 bytes", rows[0][2]), Row(2, {"a": 1})]


def test_a_json_value_too_long_is_an_error() -> None:
    stream = io.BytesIO(b'[{"a": "' + b"x" * (5 << 20) + b'"}]')
    with pytest.raises(BrokenFile, match="longer than 1,000 characters"):
        list(read_json(stream, limit=1000))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[{"a": 1},\n {"a": }]', 2, "Expecting value"),
        ('[{"a": 1}\n {"a": 2}]', 2, "expected ',' or ']'"),
        ('[{"a": 1},\n\n{"a": 2}', 3, "the end of the file"),
        ('[{"a": "x', 1, "Unterminated string"),
        ('[{"a": 1}] tail', 1, "after the end"),
        ("plain words", 1, "expected an array or an object"),
        ('[{"a": NaN}]', 1, "NaN is not JSON"),
        ("[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_broken_document_names_the_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(BrokenFile) as caught:
        list(read_json(io.BytesIO(text.encode())))
    assert (caught.value.line, reason in caught.value.reason) == (line, True)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b'{"a": 1}\n{"a": 2,}\n', 2, "broken JSON"),
        (b'{"a": 1}\n\n[1, 2]\n', 3, "an array"),
        (b'"text"\n', 1, "a bare value"),
        (b'{"a": Infinity}', 1, "Infinity is not JSON"),
        (b'{"a": "\xff\xfe"}', 1, "byte 0xff at column 8"),
        (b'{"a": "\x00"}', 1, "control character"),
        (b"[" * 100_000, 1, "nested too deeply"),
        (b'{"a":' * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_broken_line_is_told(text: bytes, line: int, reason: str) -> None:
    broken = [row for row in read_jsonl(io.BytesIO(text)) if isinstance(row, Broken)]
    assert [(row.line, reason in row.reason) for row in broken] == [(line, True)]


def test_csv_lines_and_faults() -> None:
    text = b'a,b\n1,"two\nlines"\n3\n4,5,6\n\n7,8\n'
    found = list(read_csv(io.BytesIO(text)))
    assert found == [
        Row(2, {"a": "1", "b": "two\nlines"}),
        Broken(4, "1 fields where the header has 2", "3"),
        Broken(5, "3 fields where the header has 2", "4,5,6"),
        Row(7, {"a": "7", "b": "8"}),
    ]
    with pytest.raises(BrokenFile, match="a more than once"):
        list(read_csv(io.BytesIO(b"a,a\n1,2\n")))


def test_other_files_are_refused(bench: Any) -> None:
    bench.file("x.parquet", "not parquet")
    with pytest.raises(DataError, match="not readable as Parquet"):
        bench.records("x.parquet")
    (bench.folder / "u.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        bench.records("u.csv")
    (bench.folder / "cut.jsonl.gz").write_bytes(gzip.compress(JSONL * 50)[:-40])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz: cannot be read"):
        bench.records("cut.jsonl.gz")


JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | JSON_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(JSON_TEXT, VALUES, min_size=1, max_size=4), min_size=2, max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
)
def test_json_and_jsonl_read_what_json_wrote(rows: Any, size: int, indent: int | None) -> None:
    array = Trickle(json.dumps(rows, indent=indent, ensure_ascii=False).encode(), size)
    assert [row.values for row in read_json(array)] == rows  # type: ignore[union-attr]
    text = "".join(json.dumps(row, ensure_ascii=size % 2 == 0) + "\n" for row in rows)
    found = list(read_jsonl(Trickle(text.encode(), size)))
    assert [row.values for row in found] == rows  # type: ignore[union-attr]
