"""`tuneforge sql` while a build curates: answered at once, and never with half a dataset."""

import json
import random
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from light_project import LightProject
from tuneforge_datastore.sql import ask, open_store

pytestmark = pytest.mark.timeout(600)

SPEC = """\
spec = 1

[build]
name = "curated"

[sources.data]
path = "data.jsonl"

[datasets.d]
from = [{ source = "data" }]
clean = {}
filters = [{ kind = "length", of = "completion", unit = "words", min = 2 }, { kind = "refusal" }]
dedup = { near = { threshold = 0.8 } }
split = { eval = 0.1 }

[base]
model = "base"
"""
FEW, MANY = 300, 60_000
# One statement, hence one state of the store.
STATE = """SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM ledger),
(SELECT coalesce(sum(records), 0) FROM datasets), (SELECT coalesce(sum(kept), 0) FROM datasets),
(SELECT count(*) FROM ledger WHERE verdict = 'kept')"""


def write_data(project: LightProject, rows: int) -> None:
    words = [f"word{n}" for n in range(500)]
    rng = random.Random(rows)
    with (project.folder / "data.jsonl").open("w") as file:
        for row in range(rows):
            said = " ".join(rng.choices(words, k=40)) if row % 20 else "short"
            file.write(json.dumps({"prompt": f"Ask {row}", "completion": said}) + "\n")


def curated_between(project: LightProject) -> tuple[float, float]:
    """When the last build began and ended to curate, in seconds since 1970."""
    log = max(
        (project.workspace / "builds").glob("*/events.jsonl"), key=lambda p: p.stat().st_mtime
    )
    times = {
        event["event"]: event["t"]
        for event in map(json.loads, log.read_text().splitlines())
        if event.get("step") == "dataset.d"
    }
    return times["step_started"], times["step_done"]


def state_of(row: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(int, row))


def asked_until_it_ends(
    project: LightProject, build: subprocess.Popen[str]
) -> list[tuple[float, float, tuple[int, ...]]]:
    """Run `tuneforge sql` again and again: when each began and ended, and what it said."""
    asked = []
    while build.poll() is None:
        began = time.time()
        asked.append((began, state_of(project.sql(STATE)[0]), time.time()))
    return [(began, ended, state) for began, state, ended in asked]


def test_readers_are_answered_throughout_a_curation(tmp_path: Path) -> None:
    project = LightProject.make(tmp_path / "project", spec=SPEC)
    write_data(project, FEW)
    project.good("build")
    kept = state_of(project.sql(STATE)[0])[3]
    write_data(project, MANY)
    build = project.start("build")
    with ThreadPoolExecutor(1) as pool:
        commands = pool.submit(asked_until_it_ends, project, build)
        reads = []
        while build.poll() is None:
            # Waits for nobody: the store must be free at any moment.
            with open_store(project.workspace, wait=0.0) as store:
                reads.append((time.time(), state_of(ask(store, STATE).rows[0])))
            time.sleep(0.05)
        asked = commands.result()
    out, err = build.communicate()
    assert build.returncode == 0, out + err
    start, end = curated_between(project)
    assert sum(start < moment < end for moment, _ in reads) >= 3
    assert any(began < end and ended > start for began, ended, _ in asked)
    old = (FEW, FEW, FEW, kept, kept)
    # The new source is published before the dataset that is made of it.
    between = (MANY, *old[1:])
    final = state_of(project.sql(STATE)[0])
    assert between in {state for moment, state in reads if start < moment < end}
    assert {state for *_, state in [*reads, *asked]} <= {old, between, final}
    assert final[:3] == (MANY, MANY, MANY)
    assert 0 < final[3] == final[4] < MANY
