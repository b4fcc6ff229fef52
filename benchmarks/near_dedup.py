"""Near-duplicate removal against its peers: CPU seconds, peak memory, recall.

Every contender runs in a fresh process on the same corpus, in turns, ``--rounds`` times; the least
CPU time counts. The peers get word 5-shingles made in plain Python, as their interfaces ask;
"search only" leaves that cost out. Ours reads the texts and verifies every pair. A peer that is
not installed (pip install datasketch rensa datatrove) is named and left out.

    python benchmarks/near_dedup.py --records 10000 100000
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpus import NGRAM, boilerplate, corpus

THRESHOLD = 0.8
BANDS, ROWS = 25, 5
WORD = re.compile(r"\w+")


def shingled(texts: list[str]) -> list[list[bytes]]:
    made = []
    for text in texts:
        words = WORD.findall(text.lower())
        last = max(1, len(words) - NGRAM + 1)
        made.append([" ".join(words[i : i + NGRAM]).encode() for i in range(last)])
    return made


def ours(texts: pa.Array, clock, folder: Path | None = None) -> set[int]:
    from tuneforge_datastore.dedup.near import near_duplicates

    near_duplicates(pa.array(["warm up the compiler cache", "warm up the compiler cache"]))
    clock.start()
    found = near_duplicates(texts, threshold=THRESHOLD, ngram=NGRAM, threads=1, folder=folder)
    clock.stop()
    clock.note["bounded"] = found.bounded
    clock.note["witnesses"] = list(zip(found.dropped.tolist(), found.kept.tolist(), strict=True))
    return set(found.dropped.tolist())


def in_files(texts: pa.Array, clock) -> set[int]:
    """Ours with every array of the index in a file, as large ones are."""
    from tuneforge_datastore.dedup import room

    room.IN_MEMORY = 0
    with tempfile.TemporaryDirectory() as folder:
        return ours(texts, clock, Path(folder))


def datasketch(texts: pa.Array, clock, *, bulk: bool) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    values = texts.to_pylist()
    clock.start()
    sets = shingled(values)
    clock.mark()
    if bulk:
        hashes = MinHash.bulk(sets, num_perm=BANDS * ROWS)
    else:
        hashes = []
        for one in sets:
            hashes.append(MinHash(num_perm=BANDS * ROWS))
            hashes[-1].update_batch(one)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    dropped = set()
    for row, one in enumerate(hashes):
        if any(one.jaccard(hashes[other]) >= THRESHOLD for other in index.query(one)):
            dropped.add(row)
        else:
            index.insert(row, one, check_duplication=False)
    clock.stop()
    return dropped


def rensa(texts: pa.Array, clock) -> set[int]:
    """Its batch path: digest matrix, then rows flagged that share a band (nothing verified)."""
    from rensa import RMinHash, RMinHashLSH

    values = texts.to_pylist()
    clock.start()
    sets = shingled(values)
    clock.mark()
    matrix = RMinHash.digest_matrix_from_token_sets(sets, BANDS * ROWS, 42)
    index = RMinHashLSH(THRESHOLD, BANDS * ROWS, BANDS)
    flags = index.insert_matrix_and_query_duplicate_flags(matrix)
    clock.stop()
    return {row for row, flag in enumerate(flags) if flag}


def datatrove(texts: pa.Array, clock) -> set[int]:
    """Its first three MinHash stages on one worker: signatures, pairs, clusters (no verifying)."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash

    # Its English words need a download; these are the words of the other peers.
    minhash.load_word_tokenizer = lambda language: None  # noqa: ARG005
    hash_of = minhash.create_hash_func(minhash.HashConfig())

    class Signature(minhash.MinhashDedupSignature):
        def get_shingles(self, text: str) -> np.ndarray:
            hashes = [hash_of(one) for one in shingled([text])[0]]
            return np.array(hashes, np.uint64).reshape(-1, 1)

    config = minhash.MinhashConfig(NGRAM, BANDS, ROWS)
    documents = [Document(text, str(row)) for row, text in enumerate(texts.to_pylist())]
    with tempfile.TemporaryDirectory() as folder:
        signatures, pairs, removed = (Path(folder, name) for name in ("sigs", "pairs", "removed"))
        clock.start()
        Signature(str(signatures), config).run(documents)
        for band in range(BANDS):
            minhash.MinhashDedupBuckets(str(signatures), str(pairs), config=config).run(
                None, band, BANDS
            )
        minhash.MinhashDedupCluster(str(pairs), str(removed), config).run()
        clock.stop()
        files = sorted(removed.glob("*.remove"))
        return {row for file in files for row in np.fromfile(file, "<u4").tolist()}


CONTENDERS = {
    "tuneforge": ours,
    "index in files": in_files,
    "datasketch bulk": lambda texts, clock: datasketch(texts, clock, bulk=True),
    "datasketch update_batch": lambda texts, clock: datasketch(texts, clock, bulk=False),
    "rensa": rensa,
    "datatrove": datatrove,
}


class Clock:
    """CPU seconds of the process and its peak memory beyond what it held at the start (Linux)."""

    def __init__(self) -> None:
        self.note: dict = {}

    def start(self) -> None:
        # What reading the corpus left to the allocator would hide what comes.
        pa.default_memory_pool().release_unused()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self.held = self._peak()
        self.began = self.marked = time.process_time()

    def mark(self) -> None:
        self.marked = time.process_time()

    def stop(self) -> None:
        now = time.process_time()
        self.note["cpu"] = now - self.began
        self.note["cpu_without_shingles"] = now - self.marked
        self.note["peak_mib"] = (self._peak() - self.held) / 1024

    @staticmethod
    def _peak() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def contend(name: str, file: Path) -> None:
    """Run one contender on a corpus and print what it did as JSON (in its own process)."""
    texts = pq.read_table(file)["text"].combine_chunks()
    clock = Clock()
    dropped = CONTENDERS[name](texts, clock)
    print(json.dumps({**clock.note, "dropped": sorted(dropped)}))


def measure(name: str, file: Path) -> dict:
    command = [sys.executable, __file__, "--contend", name, "--corpus", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout)


def verify(texts: list[str], witnesses: list[tuple[int, int]], sample: int = 2000) -> int:
    """Count sampled drops whose witness is not similar enough, by sets of strings alone."""
    wrong = 0
    for row, witness in witnesses[:: max(1, len(witnesses) // sample)]:
        one, other = (set(sets) for sets in shingled([texts[row], texts[witness]]))
        wrong += len(one & other) / len(one | other) < THRESHOLD
    return wrong


def report(records: int, rounds: int, names: list[str], folder: Path) -> float:
    """Print one size; return our CPU seconds a record."""
    texts, planted = corpus(records)
    file = folder / f"{records}.parquet"
    pq.write_table(pa.table({"text": texts}), file)
    truth = [one for one in planted if one.jaccard >= THRESHOLD]
    print(f"\n{records:,} records, {len(planted):,} planted, {len(truth):,} at J >= {THRESHOLD}")
    best: dict[str, dict] = {}
    for _ in range(rounds):
        for name in names:
            result = measure(name, file)
            if name not in best or result.get("cpu", 9e9) < best[name].get("cpu", 9e9):
                best[name] = result
    mine = best["tuneforge"]
    print(f"{'':<24} {'us/record':>9} {'search only':>11} {'ratio':>6} {'peak MiB':>8}  recall")
    for name, result in best.items():
        if "error" in result:
            print(f"{name:<24} did not run: {result['error']}")
            continue
        dropped = set(result["dropped"])
        recall = sum(one.copy in dropped for one in truth) / len(truth)
        per_record = result["cpu"] / records * 1e6
        search = result["cpu_without_shingles"] / records * 1e6
        ratio = result["cpu"] / mine["cpu"]
        print(
            f"{name:<24} {per_record:>9.1f} {search:>11.1f} {ratio:>6.1f} "
            f"{result['peak_mib']:>8.0f}  {recall:.5f}"
        )
    wrong = verify(texts, mine["witnesses"])
    print(f"tuneforge: {len(mine['dropped']):,} dropped, {wrong} of a sample without true witness")
    return mine["cpu"] / records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contend:
        contend(given.contend, given.corpus)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        costs = [report(size, given.rounds, given.only, folder) for size in given.records]
        growth = costs[-1] / costs[0]
        print(f"\ncost a record, {given.records[-1]:,} against {given.records[0]:,}: {growth:.2f}")
        for size in given.records:
            file = folder / "boilerplate.parquet"
            pq.write_table(pa.table({"text": boilerplate(size)}), file)
            result = measure("tuneforge", file)
            print(
                f"shared prefix, {size:,}: {result['cpu'] / size * 1e6:.1f} us/record, "
                f"{len(result['dropped'])} dropped, {result['bounded']:,} bounded"
            )


if __name__ == "__main__":
    main()
