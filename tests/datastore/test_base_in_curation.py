"""What a curation does with the base: tokens counted, losses asked for once, scores told."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tuneforge_datastore import scoring
from tuneforge_datastore.basemodel import Asked, BaseModel, Loss
from tuneforge_datastore.curate import Inputs, Resources, curate
from tuneforge_specs.datasets import Dataset
from tuneforge_specs.errors import UsageError
from tuneforge_specs.filters import Scored


class Fake:
    """A base whose tokens are bytes, and whose losses tests choose by the text."""

    def __init__(self, folder: Path, losses: dict[str, Loss] | None = None) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers

        folder.mkdir()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        made = Tokenizer(models.BPE({one: n for n, one in enumerate(alphabet)}, []))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.save(str(folder / "tokenizer.json"))
        self.losses = losses or {}
        self.asked: list[Asked] = []
        self.base = BaseModel(folder, "fake", self.score)

    def score(self, asked: Sequence[Asked], spec: Scored, place: str) -> list[Loss]:
        self.asked += asked
        return [self.losses[one.text] for one in asked]


def run(bench: Any, source: Path, base: BaseModel | None, **keys: Any) -> dict[str, Any]:
    spec = Dataset.model_validate({"from": [{"source": "s"}], "split": {"eval": 0.0}, **keys})
    inputs = Inputs({"s": source}, {}, bench.folder, base)
    resources = Resources(bench.folder / "tmp", cache=bench.folder / "cache")
    curate("set", spec, inputs, bench.folder / "dataset", resources, seed=1)
    rows = pq.read_table(bench.folder / "dataset" / "ledger.parquet").to_pylist()
    return {row["id"]: row for row in rows}


def answers(bench: Any, *texts: str) -> Path:
    folder: Path = bench.source("s", [{"prompt": "q", "completion": text} for text in texts])
    return folder


def test_length_in_tokens(bench: Any) -> None:
    fake = Fake(bench.folder / "base")
    source = answers(bench, "abc", "ä€", "abcdefg")
    told = run(bench, source, fake.base, filters=[{"kind": "length", "unit": "tokens", "max": 5}])
    assert [told[f"s:{n}"]["verdict"] for n in range(3)] == ["kept", "kept", "dropped"]
    assert told["s:2"]["score"] == 7
    assert told["s:2"]["reason"] == "completion of 7 tokens: more than the most, 5"
    least = [{"kind": "length", "unit": "tokens", "min": 5, "of": "whole"}]
    assert run(bench, source, fake.base, filters=least)["s:0"]["verdict"] == "kept"  # q, \n, abc
    with pytest.raises(UsageError, match=r"datasets\.set\.filters\[0\] needs the base model"):
        run(bench, source, None, filters=least)


def test_the_first_tokens_are_taken(bench: Any) -> None:
    fake = Fake(bench.folder / "base")
    source = answers(bench, "abc", "defgh", "i")  # 5, 7 and 3 tokens with the prompt
    for keys, kept in (
        ({"tokens": 12}, 2),
        ({"tokens": 11}, 1),
        ({"tokens": 15}, 3),
        ({"tokens": 15, "rows": 2}, 2),
        ({"tokens": 15, "words": 2}, 1),
    ):
        told = run(bench, source, fake.base, select=[{"kind": "take", **keys}])
        assert [row["verdict"] for row in told.values()].count("kept") == kept, keys
    told = run(bench, source, fake.base, select=[{"kind": "take", "tokens": 12}])
    assert told["s:2"]["reason"] == "behind the first 12 tokens"
    with pytest.raises(UsageError, match=r"select\[0\] needs the base model"):
        run(bench, source, None, select=[{"kind": "take", "tokens": 12}])


def test_perplexity_drops_and_notes_scores(bench: Any) -> None:
    losses = {"plain": 1.0, "odd": 6.0, "flat": 0.01}
    known = {f"q\n{text}": Loss(None, loss, 4) for text, loss in losses.items()}
    fake = Fake(bench.folder / "base", known | {"q\n.": Loss(None, None, 0)})
    limits = {"kind": "perplexity", "min": 1.5, "max": 100}
    told = run(bench, answers(bench, *losses, "."), fake.base, filters=[limits])
    assert (told["s:0"]["verdict"], told["s:0"]["score"]) == ("kept", 2.718)
    assert told["s:0"]["reason"] == "perplexity 2.718"
    assert (told["s:1"]["verdict"], told["s:1"]["score"]) == ("dropped", float(f"{math.e**6:.4g}"))
    assert told["s:1"]["reason"] == "perplexity 403.4, above 100"
    assert told["s:2"]["reason"] == "perplexity 1.01, below 1.5"
    assert (told["s:3"]["verdict"], told["s:3"]["score"]) == ("kept", None)
    assert told["s:3"]["reason"] == "too short for its perplexity"
    funnel = json.loads((bench.folder / "dataset" / "funnel.json").read_text())
    (step,) = (one for one in funnel if one["stage"] == "filters[0]")
    assert (step["in"], step["dropped"], step["scored"], step["out"]) == (4, 2, 2, 2)


def test_difficulty_is_the_loss_after_the_prompt_over_that_without(bench: Any) -> None:
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Go")]
    said = [{"role": role, "content": text} for role, text in [*turns, ("assistant", "gone")]]
    rows = [
        {"messages": said},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "odd"}]},
        {"messages": [{"role": "assistant", "content": "no prompt"}]},
    ]
    fake = Fake(bench.folder / "base", {"gone": Loss(1.0, 4.0, 3), "odd": Loss(3.0, 2.0, 3)})
    told = run(bench, bench.source("s", rows), fake.base, filters=[{"kind": "difficulty"}])
    assert (told["s:0"]["verdict"], told["s:0"]["score"]) == ("kept", 0.25)
    assert (told["s:1"]["verdict"], told["s:1"]["score"]) == ("dropped", 1.5)
    assert told["s:2"]["reason"] == "too short for its difficulty"
    assert fake.asked[0] == Asked("Be kind.\n\nHi\n\nYes?\n\nGo", "gone")
    pair = {"prompt": "p", "chosen": "gone", "rejected": "odd"}
    run(bench, bench.source("s", [pair]), fake.base, filters=[{"kind": "difficulty"}])
    assert fake.asked[-1] == Asked("p", "gone")


def test_only_what_other_filters_leave_is_asked_and_only_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TOGETHER", 1)
    texts = ("same one", "same one", "other one", "short")
    fake = Fake(bench.folder / "base", {text: Loss(None, 1.0, 2) for text in texts})
    source = answers(bench, *texts)
    keys: dict[str, Any] = {"dedup": {"exact": False}}
    words = {"kind": "length", "min": 2}
    limits = {"kind": "perplexity", "of": "completion", "max": 9}
    first = run(bench, source, fake.base, filters=[words, limits], **keys)
    assert [one.text for one in fake.asked] == ["same one", "other one"]
    # Other limits cost nothing; more tokens are another question.
    second = run(bench, source, fake.base, filters=[words, limits | {"max": 3}], **keys)
    assert len(fake.asked) == 2
    assert first["s:0"]["score"] == second["s:0"]["score"]
    run(bench, source, fake.base, filters=[words, limits | {"max_tokens": 9}], **keys)
    assert len(fake.asked) == 4


def test_a_damaged_cache_is_computed_anew(bench: Any) -> None:
    fake = Fake(bench.folder / "base", {"q\na": Loss(None, 1.0, 2)})
    filters = [{"kind": "perplexity"}]
    source = answers(bench, "a")
    run(bench, source, fake.base, filters=filters)
    (file,) = (bench.folder / "cache" / "losses").iterdir()
    file.write_bytes(b"PAR1 and no more")
    assert run(bench, source, fake.base, filters=filters)["s:0"]["score"] == 2.718
    assert len(fake.asked) == 2
