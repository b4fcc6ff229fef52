"""Losses in batches against transformers' own loss, one text at a time."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_datastore.render.vocabulary import Vocabulary

pytestmark = pytest.mark.train

ASKED = [
    ("", "red green blue"),
    ("name a colour", "blue"),
    ("name two colours, and be quick", "black white small large round flat quick slow warm"),
    ("", ""),
    ("say nothing", ""),
    ("a", "b"),
]


@pytest.fixture(scope="module")
def with_bos(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with a tokenizer that begins every text with a BOS token."""
    from shutil import copytree

    folder = tmp_path_factory.mktemp("bos") / "model"
    copytree(base, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"bos_token": "<|im_start|>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def score(path: Path, model: Path, asked: list[tuple[str, str]], **changed: Any) -> dict[str, Any]:
    from tuneforge.worker.run import WorkerRun
    from tuneforge.worker.score import score as work

    (path / "output").mkdir(parents=True, exist_ok=True)
    columns = {"context": [one[0] for one in asked], "text": [one[1] for one in asked]}
    pq.write_table(pa.table(columns), path / "asked.parquet")
    job = {
        "kind": "score",
        "base": {"path": str(model), "quantize": "none", "dtype": "float32"},
        "asked": str(path / "asked.parquet"),
        "device": "cpu",
        "seed": 1,
        "threads": 1,
        "max_tokens": 1024,
        "micro_batch": 3,
    }
    run = WorkerRun(path)
    work(job | changed, run)
    return pq.read_table(run.output / "losses.parquet").to_pydict()


def transformers_loss(model: Any, before: list[int], scored: list[int]) -> float | None:
    """The model's own loss of some token ids after others."""
    import torch

    if not scored:
        return None
    ids = torch.tensor([[*before, *scored]])
    labels = torch.tensor([[-100] * len(before) + scored])
    with torch.inference_mode():
        return float(model(input_ids=ids, labels=labels).loss)


@pytest.mark.parametrize("bos", [False, True])
def test_losses_are_those_of_transformers(
    tmp_path: Path, base: Path, with_bos: Path, bos: bool
) -> None:
    from transformers import AutoModelForCausalLM

    folder = with_bos if bos else base
    found = score(tmp_path, folder, ASKED)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32").eval()
    vocabulary = Vocabulary(folder)
    assert vocabulary.wants_bos is bos
    begin = [vocabulary.bos] if bos else []
    for row, (context, text) in enumerate(ASKED):
        texts, before = vocabulary.encode([text, f"{context}\n\n" if context else ""])
        # Without a BOS token nothing stands before a text's first token: it counts in neither.
        head, scored = (begin, texts.ids) if bos else (texts.ids[:1], texts.ids[1:])
        alone = transformers_loss(model, head, scored)
        assert found["tokens"][row] == len(scored)
        assert found["alone"][row] == (alone and pytest.approx(alone, rel=1e-5))
        after = transformers_loss(model, [*begin, *before.ids, *([] if bos else head)], scored)
        wanted = after if context else None
        assert found["conditioned"][row] == (wanted and pytest.approx(wanted, rel=1e-5))


def test_micro_batches_change_nothing_that_is_told(tmp_path: Path, base: Path) -> None:
    one, all_ = (
        score(tmp_path / str(size), base, ASKED, micro_batch=size) for size in (1, len(ASKED) * 2)
    )
    for name in ("conditioned", "alone"):
        for a, b in zip(one[name], all_[name], strict=True):
            assert (a is None) == (b is None)
            assert a is None or f"{a:.4g}" == f"{b:.4g}"


@pytest.mark.parametrize("limit", [8, 20])
def test_what_is_too_long_is_cut_where_it_matters_least(base: Path, limit: int) -> None:
    from tuneforge.worker.score import laid_out

    vocabulary = Vocabulary(base)
    short, long = "red green", "black white small large round flat quick slow warm cold old new"
    rows = [{"context": one, "text": two} for one in (short, long) for two in (short, long)]
    alone, conditioned = laid_out(rows, vocabulary, limit)
    for row, before, after in zip(rows, alone, conditioned, strict=True):
        assert after is not None
        ids = vocabulary.encode([row["text"]])[0].ids
        context = vocabulary.encode([row["context"] + "\n\n"])[0].ids
        kept = before.ids
        assert ids[: len(kept)] == kept
        assert len(after.ids) == min(limit, len(context) + len(kept))
        assert after.ids[-len(kept) :] == kept
        head = after.ids[: -len(kept)]
        assert context[-len(head) :] == head
        assert len(head) == len(context) or len(head) >= limit // 2
        assert (before.scored, after.scored) == (len(kept) - 1, len(kept) - 1)


def test_the_bases_own_limit_holds(tmp_path: Path, base: Path) -> None:
    limit = json.loads((base / "config.json").read_text())["max_position_embeddings"]
    found = score(tmp_path, base, [("red " * 500, "green " * 500)])
    assert found["tokens"][0] == limit // 2 - 1
    assert found["conditioned"][0] > 0
