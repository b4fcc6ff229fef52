"""Rendering against transformers' ``apply_chat_template(tokenize=True)``: CPU seconds, in turns.

Conversations of one question and one answer, ~130 words, through chatml and a byte-level BPE of
8,000 tokens. transformers is asked for the ids alone, and for ids with the mask of what the
assistant says, which is what a trainer needs; ours also checks every row and writes Parquet. Every
contender runs in this process, ``--rounds`` times; the least CPU time counts.

    python benchmarks/render.py --records 20000
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpus import sentences
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tuneforge_datastore.render.dataset import render_dataset
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_specs.datasets import Template

TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def model(folder: Path, texts: list[str]) -> Path:
    """Train a tokenizer and save it as a model folder does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def talks(records: int, pool: list[str]) -> list[list[dict]]:
    rng = random.Random(0)

    def text(words: int) -> str:
        said: list[str] = []
        while sum(one.count(" ") + 1 for one in said) < words:
            said.append(rng.choice(pool))
        return " ".join(said)

    return [
        [{"role": "user", "content": text(40)}, {"role": "assistant", "content": text(70)}]
        for _ in range(records)
    ]


def write(file: Path, made: list[list[dict]]) -> Path:
    """Write conversations as a dataset step does."""
    columns = {
        "id": [f"s:{row}" for row in range(len(made))],
        "kind": ["instruction"] * len(made),
        "split": ["train"] * len(made),
        "messages": pa.array(made, pa.list_(TURN)),
    }
    pq.write_table(pa.table(columns), file)
    return file


def cpu(run: Callable[[], object]) -> tuple[float, float]:
    began, at = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - began, time.perf_counter() - at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    pool = sentences()
    made = talks(asked.records, pool)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        base = model(root / "model", pool)
        kept = write(root / "kept.parquet", made)
        for row in range(0, len(made), 100):  # one record in a hundred is edited
            made[row] = [made[row][0], {"role": "assistant", "content": f"edited {row}"}]
        edited = write(root / "edited.parquet", made)

        def ours(file: Path, name: str, threads: int, *earlier: Path) -> Callable[[], object]:
            (root / name).mkdir()
            return lambda: render_dataset(
                file,
                base,
                Template(max_tokens=1024),
                directory=root,
                out=root / name,
                threads=threads,
                earlier=lambda _rules: earlier,
            )

        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.chat_template = SHIPPED["chatml"].source()
        rows = pq.read_table(kept, columns=["messages"])["messages"].to_pylist()

        def theirs(**options: object) -> Callable[[], object]:
            return lambda: [
                tokenizer.apply_chat_template(talk, tokenize=True, **options) for talk in rows
            ]

        contenders = {
            "tuneforge, one thread": ours(kept, "one", 1),
            f"tuneforge, {cores} threads": ours(kept, "all", cores),
            "tuneforge, 1% of the records edited": ours(edited, "again", 1, root / "one"),
            "transformers, ids": theirs(),
            "transformers, ids and mask": theirs(
                return_dict=True, return_assistant_tokens_mask=True
            ),
        }
        best: dict[str, tuple[float, float]] = {}
        for _ in range(asked.rounds):
            for name, run in contenders.items():
                found = cpu(run)
                best[name] = min(found, best.get(name, found))
        for file in (root / "one").iterdir():
            if file.read_bytes() != (root / "all" / file.name).read_bytes():
                raise SystemExit(f"{file.name} differs between one thread and {cores}")
        ids = pq.read_table(root / "one" / "train.parquet")["input_ids"].to_pylist()
        if ids != [list(one) for one in tokenizer.apply_chat_template(rows, return_dict=False)]:
            raise SystemExit("the token ids differ from transformers'")
    unit = best["tuneforge, one thread"][0]
    print(f"{asked.records:,} records; the ids equal transformers' in every row")
    for name, (seconds, wall) in best.items():
        each = seconds / asked.records * 1e6
        print(
            f"{name:<38} {seconds:7.2f} CPU s {each:6.0f} us a record {wall:7.2f} s wall "
            f"{seconds / unit:6.2f} times"
        )


if __name__ == "__main__":
    main()
