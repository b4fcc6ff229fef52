"""A whole curation by size: ingest, clean, filters, exact and near dedup, split, publish.

Each size runs in a process of its own on a JSON Lines file of about 830 bytes a record; a hundredth
of the records is dirty, a fiftieth repeats an earlier one, a tenth is an edited copy whose true
Jaccard is known. Then near dedup alone against its peers, interleaved (see near_dedup.py).

    python benchmarks/curate.py --records 10000 100000 1000000
"""

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import near_dedup
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpus import corpus

THRESHOLD = near_dedup.THRESHOLD
PROMPT_WORDS = 25
FILTERS = [
    {"kind": "length", "min": 20, "max": 2000},
    {"kind": "empty"},
    {"kind": "encoding"},
    {"kind": "refusal"},
    {"kind": "symbols"},
]
SPEC = {
    "from": [{"source": "rows"}],
    "clean": {},
    "filters": FILTERS,
    "dedup": {"exact": True, "near": {"threshold": THRESHOLD}},
    "split": {"eval": 0.02},
}


def write_rows(records: int, file: Path) -> tuple[list[tuple[int, int]], int, int]:
    """Write the corpus; give the pairs at or above the threshold, and rows repeated and dirtied."""
    texts, planted = corpus(records)
    rng = random.Random(records)
    repeated = dirty = 0
    copies = {one.copy for one in planted} | {one.original for one in planted}
    with file.open("w", encoding="utf-8") as out:
        for row, made in enumerate(texts):
            text = made
            if row not in copies and row > 50:
                if rng.random() < 0.02:
                    text = texts[rng.randrange(row)]
                    repeated += 1
                elif rng.random() < 0.01:
                    text = rng.choice([f"{text} cafÃ© donâ€™t", f"{text}\x00 ", f"{text}  \r\n"])
                    dirty += 1
            words = text.split(" ")
            prompt, completion = words[:PROMPT_WORDS], words[PROMPT_WORDS:]
            parts = {"prompt": " ".join(prompt), "completion": " ".join(completion)}
            out.write(json.dumps(parts, ensure_ascii=False) + "\n")
    similar = [(one.original, one.copy) for one in planted if one.jaccard >= THRESHOLD]
    return similar, repeated, dirty


def curation(file: Path, folder: Path, threads: int) -> dict[str, dict[str, float]]:
    """Curate a file; give the wall and CPU seconds of each stage."""
    from tuneforge_datastore.curate import Inputs, Resources, curate
    from tuneforge_datastore.ingest.source import ingest
    from tuneforge_datastore.store import Catalog, CatalogEntry, publish
    from tuneforge_specs.datasets import Dataset
    from tuneforge_specs.sources import PathSource

    source, dataset = folder / "source", folder / "dataset"
    entries = [
        CatalogEntry(f"{kind}.rows", kind, "rows", "k", "d", path, 1e9, 1.0)
        for kind, path in (("source", source), ("dataset", dataset))
    ]
    steps = {
        "ingest": lambda: ingest("rows", PathSource(path=str(file)), folder, source),
        "curate": lambda: curate(
            "rows",
            Dataset.model_validate(SPEC),
            Inputs({"rows": source}),
            dataset,
            Resources(folder / "tmp", threads),
            seed=17,
        ),
        "publish": lambda: publish(folder / "workspace", Catalog(tuple(entries))),
    }
    took = {}
    for name, step in steps.items():
        wall, cpu = time.monotonic(), _cpu()
        step()
        took[name] = {"wall": time.monotonic() - wall, "cpu": _cpu() - cpu}
    return took


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def measured(file: Path, folder: Path, threads: int) -> None:
    """Run one size and print what it took as JSON (in its own process)."""
    # Compiled kernels come from numba's cache, as they do from the second build on.
    small = folder / "small.jsonl"
    with file.open(encoding="utf-8") as lines:
        small.write_text("".join(line for _, line in zip(range(500), lines, strict=False)))
    curation(small, folder / "small", threads)
    took = curation(file, folder / "whole", threads)
    print(json.dumps({"stages": took, "peak_mib": _peak_mib()}))


def report(records: int, threads: int, folder: Path) -> float:
    """Print one size; return CPU seconds a record."""
    file = folder / "rows.jsonl"
    with ProcessPoolExecutor(1) as apart:  # the memory of the corpus goes with the process
        similar, repeated, dirty = apart.submit(write_rows, records, file).result()
    size = file.stat().st_size
    command = [sys.executable, __file__, "--measure", str(folder), "--threads", str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    stages = result["stages"]
    cpu = sum(one["cpu"] for one in stages.values())
    wall = sum(one["wall"] for one in stages.values())
    print(
        f"\n{records:,} records, {size / records:.0f} bytes each: {cpu:.1f} CPU s, "
        f"{wall:.1f} s wall, peak {result['peak_mib']:.0f} MiB, {records / wall:,.0f} records/s, "
        f"{cpu / records * 1e6:.0f} us CPU a record"
    )
    for name, took in stages.items():
        print(f"  {name:<8} {took['cpu']:>8.2f} CPU s {took['wall']:>8.2f} s wall")
    account(folder / "whole" / "dataset", similar, repeated, dirty)
    return cpu / records


def account(dataset: Path, similar: list[tuple[int, int]], repeated: int, dirty: int) -> None:
    """Print the funnel, and how much of what was planted was found."""
    funnel = json.loads((dataset / "funnel.json").read_text())
    told = [f"{one['rule']} -{one['dropped']:,}" for one in funnel if one["dropped"]]
    told += [f"{one['rule']} ~{one['changed']:,}" for one in funnel if one.get("changed")]
    print(f"  {', '.join(told)} -> {funnel[-1]['out']:,}")
    ledger = pq.read_table(dataset / "ledger.parquet", columns=["id", "rule"])
    rules = ledger.column("rule").to_pylist()
    copies = ("exact-duplicate", "near-duplicate")
    # A pair of which a filter took one side is no pair any more.
    pairs = [pair for pair in similar if all(rules[row] in ("", *copies) for row in pair)]
    found = sum(rules[copy] in copies for _, copy in pairs)
    exact = pc.sum(pc.equal(ledger.column("rule"), "exact-duplicate")).as_py()
    recall = found / max(1, len(pairs))
    print(
        f"  recall of {len(pairs):,} planted at J >= {THRESHOLD}: {recall:.5f}; "
        f"{exact:,} exact of {repeated:,} repeated; {dirty:,} dirtied"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of near dedup and its peers.")
    parser.add_argument("--peers-at", type=int, default=10_000, help="Their size; 0: no peers.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measured(given.measure / "rows.jsonl", given.measure, given.threads)
        return
    costs = []
    for size in given.records:
        with tempfile.TemporaryDirectory() as temporary:
            costs.append(report(size, given.threads, Path(temporary)))
    for size, cost in zip(given.records[1:], costs[1:], strict=True):
        print(f"\ncost a record, {size:,} against {given.records[0]:,}: {cost / costs[0]:.2f}")
    if given.peers_at:
        print("\nnear dedup alone, CPU time against ours:")
        with tempfile.TemporaryDirectory() as temporary:
            near_dedup.report(
                given.peers_at, given.rounds, list(near_dedup.CONTENDERS), Path(temporary)
            )


if __name__ == "__main__":
    main()
