"""Read one declared source into ``records.parquet``, ``rejects.parquet`` and ``source.json``."""

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from tuneforge_specs.errors import DataError
from tuneforge_specs.sources import HfSource, PathSource, SourceBase, SqlSource

from tuneforge_datastore.columns import Batch, parquet_writer, rejects_table
from tuneforge_datastore.ingest.detect import SAMPLE, choose
from tuneforge_datastore.ingest.files import data_files, shown
from tuneforge_datastore.ingest.formats import Format
from tuneforge_datastore.ingest.formats.unpaired import judged
from tuneforge_datastore.ingest.reader import read_file
from tuneforge_datastore.ingest.rows import RAW_SHOWN, Broken, BrokenFile, Row, RowError, Unusable
from tuneforge_datastore.nesting import TOO_DEEP, TooDeep
from tuneforge_datastore.records import SCHEMA, Record

SKIP_FIX = 'correct the row, or set on_error = "skip" to count it and go on'
Progress = Callable[[int], None]


@dataclass
class Ingested:
    """What was read: rows kept and refused, and how each file was understood."""

    source: str
    records: int = 0
    rejected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def _without_cycles() -> Iterator[None]:
    # Parsed rows hold no cycles; the collector would walk millions of them for nothing.
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def ingest(
    name: str,
    source: SourceBase,
    directory: Path,
    out: Path,
    *,
    files: Mapping[str, Path] | None = None,
    progress: Progress = lambda _: None,
) -> Ingested:
    """Read ``source`` into the folder ``out``, in bounded memory.

    Relative paths are under ``directory``. ``files`` gives the files of a path source, by the name
    they are shown under, where they are known already.

    Raises:
        DataError: nothing to read, a format that does not fit, or, unless ``on_error`` is skip, a
            row that cannot be read; the message names file and line.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _without_cycles(), closing(_Ingest(name, source, out, progress)) as work:
        for place, rows in _inputs(source, directory, files):
            work.file(place, rows)
            if work.enough:
                break
        work.finish()
    (out / "source.json").write_text(json.dumps(asdict(work.result), indent=1) + "\n")
    return work.result


def _inputs(
    source: SourceBase, directory: Path, files: Mapping[str, Path] | None
) -> Iterator[tuple[str, Iterator[Row | Broken]]]:
    if isinstance(source, HfSource):
        from tuneforge_datastore.ingest.hub import read_hf

        yield f"hf:{source.hf}", read_hf(source, directory)
    elif isinstance(source, SqlSource):
        from tuneforge_datastore.ingest.query import read_sql

        yield "sql", read_sql(source.sql, directory)
    elif isinstance(source, PathSource):
        if files is None:
            files = {shown(file, directory): file for file in data_files(source.path, directory)}
        for place, file in files.items():
            yield ("standard input" if place == "-" else place), read_file(file)


class _Ingest:
    def __init__(self, name: str, source: SourceBase, out: Path, progress: Progress) -> None:
        self.name = name
        self.source = source
        self.progress = progress
        self.out = out
        self.ordinal = 0
        self.result = Ingested(name)
        self.batch = Batch(name)
        self.rejects: list[tuple[str, str, str, int, str, str]] = []
        self.writer = parquet_writer(out / "records.parquet", SCHEMA)

    def close(self) -> None:
        self.writer.close()

    @property
    def enough(self) -> bool:
        return bool(self.source.limit) and self.ordinal >= self.source.limit

    def file(self, place: str, rows: Iterator[Row | Broken]) -> None:
        """Read one file."""
        before, refused = self.result.records, self.result.rejected
        line = 0
        try:
            first = list(islice(rows, SAMPLE))
            sample = [row.values for row in first if isinstance(row, Row)]
            if sample:
                made, why = choose(self.source, sample, place)
                for row in made.gather(chain(first, rows)):
                    if self.enough:
                        break
                    line = row.line
                    self._row(row, made, place)
            else:
                made, why = None, "no row could be read"
                for row in first:
                    self._reject(
                        row.line, getattr(row, "reason", ""), getattr(row, "raw", ""), place
                    )
        except BrokenFile as error:
            where = f"{place}:{error.line}" if error.line else place
            raise DataError(f"{where}: {error.reason}", "correct the file") from None
        self.result.files.append(
            {
                "file": place,
                "format": made.name if made else "",
                "why": why,
                "records": self.result.records - before,
                "rejected": self.result.rejected - refused,
                "last_line": line,
            }
        )

    def _row(self, row: Row | Broken, made: Format, place: str) -> None:
        if isinstance(row, Broken):
            self._reject(row.line, row.reason, row.raw, place)
            return
        try:
            for identifier, record in self._identified(made.convert(row.values)):
                self.batch.append(record, identifier, place, row.line)
                self.result.records += 1
                self.result.kinds[record.kind] = self.result.kinds.get(record.kind, 0) + 1
        except Unusable as error:
            self._count_refused(row.line, str(error), _raw(row), place)
            return
        except RowError as error:
            self._reject(row.line, f"as {made.name}: {error}", _raw(row), place)
            return
        except UnicodeEncodeError:
            self._reject(row.line, "not UTF-8, or half a surrogate pair", _raw(row), place)
            return
        except (TooDeep, RecursionError):
            self._reject(row.line, TOO_DEEP, "", place)
            return
        self.ordinal += 1
        if self.batch.full:
            self._flush()

    def _identified(self, made: Record | list[Record]) -> Iterator[tuple[str, Record]]:
        """Name a row's record after the row, each of several by its place among them as well."""
        records = made if isinstance(made, list) else [made]
        if self.source.pairs == "unpaired":
            records = [one for record in records for one in judged(record)]
        several = isinstance(made, list) or len(records) > 1
        for place, record in enumerate(records):
            identifier = f"{self.name}:{record.key or self.ordinal}"
            yield f"{identifier}.{place}" if several else identifier, record

    def _reject(self, line: int, reason: str, raw: str, place: str) -> None:
        if self.source.on_error == "error":
            raise DataError(f"{place}:{line}: {reason}", SKIP_FIX)
        self._count_refused(line, reason, raw, place)

    def _count_refused(self, line: int, reason: str, raw: str, place: str) -> None:
        identifier = f"{self.name}:{self.ordinal}"
        shown = raw.encode("utf-8", "replace").decode()[:RAW_SHOWN]
        self.rejects.append((identifier, self.name, place, line, reason, shown))
        self.ordinal += 1
        self.result.rejected += 1

    def _flush(self) -> None:
        if not len(self.batch):
            return
        self.writer.write_batch(self.batch.arrow())
        self.batch.clear()
        self.progress(self.result.records)

    def finish(self) -> None:
        """Write what is left and check that it is usable."""
        self._flush()
        self.close()
        pq.write_table(rejects_table(self.rejects), self.out / "rejects.parquet")
        if not self.result.records:
            files = ", ".join(file["file"] for file in self.result.files)
            raise DataError(
                f"source {self.name}: no rows in {files}"
                + (f" ({self.result.rejected} could not be read)" if self.rejects else ""),
                "check the path and the file's content",
            )
        if isinstance(self.source, PathSource | HfSource | SqlSource) and self.source.columns.id:
            _check_unique(self.out / "records.parquet", self.source.columns.id)


def _raw(row: Row) -> str:
    return json.dumps(row.values, ensure_ascii=False, default=str)[:RAW_SHOWN]


def _check_unique(records: Path, column: str) -> None:
    ids = pq.read_table(records, columns=["id", "file", "line"])
    counts = ids.group_by("id").aggregate([("line", "count"), ("line", "max")])
    twice = counts.filter(pc.greater(counts["line_count"], 1))
    if len(twice):
        first = twice.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"{column} names {first['id']!r} {first['line_count']} times, "
            f"last at line {first['line_max']}",
            "ids must differ; correct the data or leave columns.id out",
        )
