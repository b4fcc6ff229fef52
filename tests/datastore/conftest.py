"""What tests of the datastore share: ingest rows, curate them, publish the result."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from tuneforge_datastore.curate import Curated, Inputs, Resources, curate
from tuneforge_datastore.ingest.source import ingest
from tuneforge_datastore.store import Catalog, CatalogEntry, publish
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.sources import Source

SOURCE: TypeAdapter[Any] = TypeAdapter(Source)


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@dataclass
class Bench:
    """A folder to work in; each method does one stage on small data."""

    folder: Path

    def file(self, name: str, content: bytes | str | list[Any]) -> Path:
        if isinstance(content, list):
            content = lines(content)
        if isinstance(content, str):
            content = content.encode()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        return path

    def ingest(self, path: Any = "rows.jsonl", name: str = "src", **keys: Any) -> Path:
        given = keys if {"hf", "sql"} & keys.keys() else {"path": path, **keys}
        out = self.folder / "ingested" / name
        ingest(name, SOURCE.validate_python(given), self.folder, out)
        return out

    def records(self, path: Any = "rows.jsonl", name: str = "src", **keys: Any) -> list[Any]:
        return pq.read_table(self.ingest(path, name, **keys) / "records.parquet").to_pylist()

    def source(self, name: str, rows: list[dict[str, Any]], **keys: Any) -> Path:
        self.file(f"{name}.jsonl", rows)
        return self.ingest(f"{name}.jsonl", name, **keys)

    def curate(
        self,
        sources: dict[str, Path],
        against: dict[str, Path] | None = None,
        *,
        out: str = "dataset",
        seed: int = 17,
        threads: int = 1,
        **keys: Any,
    ) -> Curated:
        keys.setdefault("from", [{"source": name} for name in sources])
        keys.setdefault("split", {"eval": 0.0})
        resources = Resources(self.folder / "tmp", threads)
        spec = Dataset.model_validate(keys)
        inputs = Inputs(sources, against or {}, self.folder)
        return curate("set", spec, inputs, self.folder / out, resources, seed=seed)

    def kept(self, out: str = "dataset") -> list[Any]:
        return pq.read_table(self.folder / out / "kept.parquet").to_pylist()

    def dropped(self, out: str = "dataset") -> dict[str, Any]:
        ledger = pq.read_table(self.folder / out / "ledger.parquet").to_pylist()
        return {row["id"]: row for row in ledger if row["verdict"] == "dropped"}

    def publish(self, *artifacts: tuple[str, str, Path]) -> Path:
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        entries = (
            CatalogEntry(f"{kind}.{name}", kind, name, "k" * 64, "d" * 64, path, 1e9, 1.5)
            for kind, name, path in artifacts
        )
        publish(workspace, Catalog(tuple(entries)))
        return workspace


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def pairs() -> Callable[..., list[dict[str, str]]]:
    """Make rows of a prompt and a completion."""

    def make(*completions: str) -> list[dict[str, str]]:
        return [
            {"prompt": f"question {place}", "completion": completion}
            for place, completion in enumerate(completions)
        ]

    return make
