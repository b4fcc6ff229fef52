"""Records longer than max_tokens: each way to bring them down, and what verdicts say of it."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.render.dataset import render_dataset
from tuneforge_datastore.render.lint import lint
from tuneforge_datastore.render.overflow import cut_left, exchanges, parts, pieces, without_middle
from tuneforge_specs.datasets import Template


@pytest.fixture
def render(tmp_path: Path, model: Path, kept):
    def run(records, **options):
        template = Template(**{"max_tokens": 120, **options})
        render_dataset(kept(records), model, template, directory=tmp_path, out=tmp_path)
        assert not [check for check in lint(tmp_path, model, template) if check.failures]
        return {
            name: pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
            for name in ("train", "eval", "verdicts")
        }

    return run


@pytest.fixture
def talk(make_turn):
    """Make a conversation of so many exchanges of some 25 tokens, a system turn before them."""

    def make(count: int, words: int = 1) -> list[dict[str, Any]]:
        turns = [make_turn("system", "Be brief.")]
        for number in range(count):
            turns += [
                make_turn("user", f"ask {number} " + "word " * words),
                make_turn("assistant", f"say {number} " + "word " * words),
            ]
        return turns

    return make


def test_truncate_left_keeps_bos_and_the_end(
    render, talk, make_record, make_turn, vocabulary
) -> None:
    long = make_record(talk(6))
    short = make_record([make_turn("user", "q"), make_turn("assistant", "a")])
    out = render([long, short], overflow="truncate-left")
    row = out["train"][0]
    text = vocabulary.decode(row["input_ids"])
    assert (row["n_tokens"], row["verdict"]) == (120, "truncated")
    assert row["input_ids"][0] == vocabulary.bos
    assert text.rstrip().endswith("<|im_end|>")
    assert "say 5" in text
    assert "Be brief." not in text
    whole = render([long, short], overflow="truncate-left", max_tokens=4000)["train"][0]
    assert row["input_ids"][1:] == whole["input_ids"][-119:]
    assert row["loss_mask"][1:] == whole["loss_mask"][-119:]
    assert [one["verdict"] for one in out["verdicts"]] == ["truncated", "whole"]
    assert out["verdicts"][0]["n_tokens"] == whole["n_tokens"]


def test_truncate_left_cuts_the_prompt_of_held_out_rows(
    render, talk, make_record, make_turn
) -> None:
    train = make_record([make_turn("user", "q"), make_turn("assistant", "a")])
    answer = [make_turn("user", "q"), make_turn("assistant", "word " * 300)]
    held = [make_record(talk(6), split="eval"), make_record(answer, split="eval")]
    out = render([train, *held], overflow="truncate-left")
    (row,) = out["eval"]
    prompt = row["prompt_ids"]
    assert row["input_ids"][: len(prompt)] == prompt
    assert 1 < len(prompt) < 120
    assert row["reference"].startswith("say 5")
    assert out["verdicts"][2]["verdict"] == "dropped"
    assert "nothing of the prompt is left" in out["verdicts"][2]["reason"]


def test_truncate_middle_leaves_out_whole_turns(
    render, talk, make_record, make_turn, vocabulary
) -> None:
    short = make_record([make_turn("user", "q"), make_turn("assistant", "a")])
    out = render([make_record(talk(7)), make_record(talk(2, 60)), short],
                 overflow="truncate-middle")  # fmt: skip
    row = out["train"][0]
    text = vocabulary.decode(row["input_ids"])
    assert row["n_tokens"] <= 120
    said = [number for number in range(7) if f"say {number} " in text]
    assert said == [0, *range(7 - len(said) + 1, 7)]
    assert 2 <= len(said) < 7
    assert text.count("<|im_start|>") == 1 + 2 * len(said)
    assert "Be brief." in text
    told = out["verdicts"]
    assert [one["verdict"] for one in told] == ["truncated", "dropped", "whole"]
    assert told[0]["reason"].endswith(f"; {2 * (7 - len(said))} turns in the middle are left out")
    assert told[0]["n_tokens"] > 120
    assert "too long without the turns in the middle" in told[1]["reason"]


def test_split_gives_every_turn_to_one_row(render, talk, make_record, vocabulary) -> None:
    records = [make_record(talk(7)), make_record(talk(1)), make_record(talk(7), split="eval")]
    out = render(records, overflow="split")
    mine = [row for row in out["train"] if row["record_id"] == "s:0"]
    texts = [vocabulary.decode(row["input_ids"]) for row in mine]
    assert len(mine) > 1
    assert all(row["verdict"] == "split" and row["n_tokens"] <= 120 for row in mine)
    assert all("Be brief." in text for text in texts)
    for number in range(7):
        assert sum(f"say {number} " in text for text in texts) == 1
    whole = render(records, overflow="split", max_tokens=4000)["train"][0]
    assert sum(row["n_supervised"] for row in mine) == whole["n_supervised"]
    told = [row for row in out["verdicts"] if row["record_id"] == "s:0"]
    assert [row["reason"].split(":")[0] for row in told] == [
        f"part {number} of {len(mine)}" for number in range(1, len(mine) + 1)
    ]
    assert len(out["eval"]) == len(mine)
    for row in out["eval"]:
        assert row["input_ids"][: len(row["prompt_ids"])] == row["prompt_ids"]


def test_an_exchange_too_long_alone_is_left_out(render, make_record, make_turn, talk) -> None:
    turns = talk(3)
    turns[4] = make_turn("assistant", "word " * 300)
    out = render([make_record(turns)], overflow="split")
    assert [row["verdict"] for row in out["verdicts"]] == ["split", "dropped", "split"]
    assert out["verdicts"][1]["reason"].startswith("part 2 of 3: one exchange of ")


@pytest.mark.parametrize("overflow", ["truncate-left", "split", "truncate-middle"])
def test_texts(render, make_record, vocabulary, overflow: str) -> None:
    text = " ".join(f"w{number}" for number in range(200))
    short = make_record(kind="text", text="short")
    records = [make_record(kind="text", text=text), short]
    out = render(records, overflow=overflow)
    whole = render(records, overflow=overflow, max_tokens=4000)["train"][0]["input_ids"]
    mine = [row for row in out["train"] if row["record_id"] == "s:0"]
    assert all(row["input_ids"][0] == vocabulary.bos for row in mine)
    assert all(row["n_tokens"] <= 120 for row in mine)
    if overflow == "truncate-left":
        assert mine[0]["input_ids"][1:] == whole[-119:]
    elif overflow == "split":
        assert [token for row in mine for token in row["input_ids"][1:]] == whole[1:]
        assert mine[-1]["input_ids"][-1] == vocabulary.eos
    else:
        assert not mine
        assert out["verdicts"][0]["verdict"] == "dropped"


@pytest.mark.parametrize(
    ("overflow", "verdicts"),
    [
        ("truncate-left", ["truncated", "dropped", "whole"]),
        ("truncate-middle", ["truncated", "dropped", "whole"]),
        ("split", ["dropped", "dropped", "whole"]),
    ],
)
def test_preferences(
    render, talk, make_record, make_turn, vocabulary, overflow: str, verdicts: list[str]
) -> None:
    def pair(turns: list[Any], words: int) -> dict[str, Any]:
        good, bad = make_turn("assistant", "good"), make_turn("assistant", "bad " * words)
        return make_record(turns, kind="preference", chosen=[good], rejected=[bad])

    question = [make_turn("user", "and last")]
    records = [pair([*talk(6), *question], 3), pair(question, 300), pair(question, 3)]
    out = render(records, overflow=overflow)
    assert [row["verdict"] for row in out["verdicts"]] == verdicts
    if verdicts[0] == "truncated":
        row = out["train"][0]
        assert len(row["prompt_ids"]) + len(row["rejected_ids"]) <= 120
        assert row["prompt_ids"][0] == vocabulary.bos
        assert "and last" in vocabulary.decode(row["prompt_ids"])
        assert "good<|im_end|>" in vocabulary.decode(row["chosen_ids"])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 19))
def test_cut_left_by_hand(ids: list[int], limit: int) -> None:
    limit = min(limit, len(ids))
    got = [ids[place] for place in cut_left(ids, limit, 0)]
    assert len(got) == limit
    if ids[0] == 0 and limit > 1:
        assert got == [0, *ids[len(ids) - limit + 1 :]]
    elif ids[0] != 0:
        assert got == ids[len(ids) - limit :]


@given(st.integers(1, 50), st.integers(2, 10), st.integers(0, 1))
def test_pieces_cover_a_text_once(count: int, limit: int, begins: int) -> None:
    covered = [place for one in pieces(count, limit, begins) for place in one]
    assert covered == list(range(begins, count))
    assert all(len(one) + begins <= limit for one in pieces(count, limit, begins))


def roles(letters: str) -> list[dict[str, str]]:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": names[one], "content": str(place)} for place, one in enumerate(letters)]


@given(st.text("uat", max_size=12), st.integers(1, 12))
def test_parts_hold_every_turn_once(letters: str, most: int) -> None:
    messages = roles("s" + letters)
    head, found = exchanges(messages)
    assert [*head, *(turn for one in found for turn in one)] == messages
    divided = list(parts(messages, lambda turns: len(turns) <= most))
    assert [turn for part in divided for turn in part[len(head) :]] == messages[len(head) :]
    assert all(part[: len(head)] == head for part in divided)


def test_tool_turns_stay_with_their_question() -> None:
    (first, *_rest) = list(without_middle(roles("suatauauatau")))
    assert [turn["content"] for turn in first[0]] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        *map(str, range(7, 12)),
    ]
    assert first[1] == 2
    assert list(without_middle(roles("suaua"))) == []
