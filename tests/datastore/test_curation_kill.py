"""A curation killed at any moment leaves nothing that the next one could stumble over."""

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_CURATE = """
import sys
from pathlib import Path
from tuneforge_datastore.curate import Inputs, Resources, curate
from tuneforge_datastore.ingest.source import ingest
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.sources import PathSource
folder = Path(sys.argv[1])
print("ready", flush=True)
ingest("s", PathSource(path="rows.jsonl"), folder, folder / "s")
spec = Dataset.model_validate({
    "from": [{"source": "s"}],
    "filters": [{"kind": "length", "min": 2}],
    "split": {"eval": 0.1, "by": "record"},
})
resources = Resources(folder / "tmp", 2)
curate("d", spec, Inputs({"s": folder / "s"}), folder / "d", resources, seed=1)
"""


def start(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _CURATE, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / "d").iterdir(), *(folder / "s").iterdir()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_the_next_curation_ends_with_the_same_bytes(bench: Any, kills: int) -> None:
    rows = [{"prompt": f"p{n}", "completion": f"some words {n % 2000}"} for n in range(8000)]
    bench.file("rows.jsonl", rows)
    process = start(bench.folder)
    begun = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    lasts = time.monotonic() - begun
    expected = digests(bench.folder)
    moments = random.Random(kills)
    for _ in range(kills):
        process = start(bench.folder)
        time.sleep(moments.uniform(0.0, lasts))
        process.kill()
        process.communicate()
    process = start(bench.folder)
    process.communicate()
    assert process.returncode == 0
    assert digests(bench.folder) == expected
