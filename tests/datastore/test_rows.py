"""The rows of a dataset as the steps read them: texts at hand all at once, in memory or on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tuneforge_datastore.rows import Rows

TEXTS = ["plain", "", "Übergrößen 今天 😀", "x" * 5000]


@pytest.fixture
def source(bench: Any) -> Path:
    folder: Path = bench.source(
        "s", [{"prompt": f"p{n}", "completion": TEXTS[n % 4]} for n in range(20_000)]
    )
    return folder


def expected(alive: np.ndarray[Any, np.dtype[np.bool_]], whole: bool) -> list[str]:
    return [
        f"p{n}\n{TEXTS[n % 4]}" if whole else TEXTS[n % 4] for n in np.flatnonzero(alive).tolist()
    ]


@pytest.mark.parametrize("on_disk", [False, True])
def test_texts_of_the_rows_alive(source: Path, tmp_path: Path, on_disk: bool) -> None:
    rows = Rows({"s": source}, tmp_path if on_disk else None)
    rows.alive[::3] = False
    completions, wholes = rows.texts("completion"), rows.texts("whole")
    assert completions.to_pylist() == expected(rows.alive, whole=False)
    assert wholes.to_pylist() == expected(rows.alive, whole=True)
    completions.validate(full=True)
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_text_at_all(source: Path, tmp_path: Path, on_disk: bool) -> None:
    rows = Rows({"s": source}, tmp_path if on_disk else None)
    rows.alive[np.arange(20_000) % 4 != 1] = False
    assert set(rows.texts("completion").to_pylist()) == {""}
    rows.alive[:] = False
    assert rows.texts("whole").to_pylist() == []


def test_texts_on_disk_are_not_held_in_memory(source: Path, tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    texts = Rows({"s": source}, tmp_path).texts("completion")
    assert texts.nbytes > 25_000_000
    assert pa.total_allocated_bytes() - before < 1_000_000
