"""A corpus of any size from real sentences, with planted near-duplicates whose truth is kept."""

import json
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path

from tuneforge_datastore.dedup.shingles import jaccard, shingles

DATA = Path(
    os.environ.get(
        "TUNEFORGE_SHARED_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    )
)
WORDS = 130
NGRAM = 5


@dataclass(frozen=True)
class Planted:
    """Row ``copy`` is an edited copy of the earlier row ``original``."""

    original: int
    copy: int
    jaccard: float


def sentences() -> list[str]:
    """Read the sentences of 5 to 40 words of the real datasets, each once."""
    texts: list[str] = [(DATA / "wiki_demo.txt").read_text(encoding="utf-8")]
    for name in ("c4_demo.jsonl", "gsm8k_train.jsonl"):
        for line in (DATA / name).read_text(encoding="utf-8").splitlines():
            texts.extend(value for value in json.loads(line).values() if isinstance(value, str))
    rows = json.loads((DATA / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    texts.extend(row["output"] for row in rows)
    found = (part.strip() for text in texts for part in re.split(r"(?<=[.!?])\s+|\n+", text))
    return list(dict.fromkeys(one for one in found if 5 <= len(one.split()) <= 40))


def corpus(records: int, seed: int = 0) -> tuple[list[str], list[Planted]]:
    """Make texts of about ``WORDS`` words; every tenth is an edited copy, Jaccard 0.5 to 0.99."""
    rng = random.Random(seed)
    pool = sentences()
    texts: list[str] = []
    originals: list[int] = []
    planted: list[Planted] = []
    for row in range(records):
        if row % 10 == 9:
            original = rng.choice(originals)
            texts.append(_edited(texts[original], rng.uniform(0.5, 0.99), rng, pool))
            true = jaccard(shingles(texts[original], NGRAM), shingles(texts[row], NGRAM))
            planted.append(Planted(original, row, true))
            continue
        originals.append(row)
        text: list[str] = []
        length = 0
        while length < WORDS:
            text.append(rng.choice(pool))
            length += text[-1].count(" ") + 1
        texts.append(" ".join(text))
    return texts, planted


def _edited(text: str, target: float, rng: random.Random, pool: list[str]) -> str:
    """Replace words anywhere or in a block, until the similarity is about ``target``."""
    words = text.split()
    # Shared s of n shingles each gives J = s / (2n - s); each word alone spoils up to NGRAM of n.
    spoiled = len(words) * (1 - 2 * target / (1 + target))
    if rng.random() < 0.5:
        for _ in range(round(spoiled / NGRAM)):
            words[rng.randrange(len(words))] = rng.choice(rng.choice(pool).split())
    else:
        block = max(0, round(spoiled) - NGRAM + 1)
        start = rng.randrange(max(1, len(words) - block))
        words[start : start + block] = (" ".join(rng.choices(pool, k=20))).split()[:block]
    return " ".join(words)


def boilerplate(records: int, seed: int = 0) -> list[str]:
    """Make texts that share a long prefix and differ in their last sentences."""
    rng = random.Random(seed)
    pool = sentences()
    prefix = " ".join(rng.choices(pool, k=6))
    return [f"{prefix} {' '.join(rng.choices(pool, k=3))}" for _ in range(records)]
