"""Overlap with evaluation texts: found, proven by the words, and nothing else."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_datastore.decontaminate import Overlap, overlaps
from tuneforge_datastore.dedup.shingles import words

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
)


def found(texts: list[str], against: list[str], ngram: int = 13) -> list[Overlap]:
    return overlaps(pa.array(texts, pa.string()), pa.array(against, pa.string()), ngram=ngram)


def test_a_quoted_passage_is_found_with_the_text_as_evidence() -> None:
    texts = ["Nothing of it.", f"Q: {QUESTION.upper().replace(',', ' --')} How many in all?"]
    (hit,) = found(texts, ["Another question.", QUESTION])
    assert (hit.index, hit.against_index) == (1, 1)
    assert hit.matched_text == (
        "natalia sold clips to 48 of her friends in april "
        "and then she sold half as many clips in may"
    )


def test_one_word_less_than_the_ngram_is_no_overlap() -> None:
    passage = [f"w{i}" for i in range(13)]
    against = ["x y " + " ".join(passage) + " z"]
    assert found(["a " + " ".join(passage[:12]) + " b"], against) == []
    assert found(["a " + " ".join(passage) + " b"], against) == [Overlap(0, 0, " ".join(passage))]


def test_short_texts_compare_as_a_whole() -> None:
    against = ["What is 2 + 2?", "Name a colour"]
    assert found(["what is 2+2"], against) == [Overlap(0, 0, "what is 2 2")]
    assert found(["So what is 2+2 then", "what is 2", "name a colour please"], against) == []


def test_unspaced_scripts_and_empty_sets() -> None:
    passage = "今天天气很好我们一起去公园散步"
    (hit,) = found([f"他说{passage}吧"], [passage + "了"])
    assert hit.matched_text == passage
    assert found(["a b c"], []) == []
    assert found([], ["a b c"]) == []
    assert found(["", "..."], ["", "!"]) == []


def test_equal_hashes_of_different_words_are_not_an_overlap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A collision is simulated: the table points at a passage that only claims to be equal."""
    from tuneforge_datastore.dedup import kernels

    index = kernels.index_grams

    def misled(texts, rows, ngram, reader, table):
        index(texts, rows, ngram, reader, table)
        table[table[:, 1] >= 0, 2] += 1  # every entry names the word after the right one

    monkeypatch.setattr(kernels, "index_grams", misled)
    assert found([QUESTION], [QUESTION]) == []


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=6),
    st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=6),
    st.integers(1, 5),
)
@settings(max_examples=300, deadline=None)
def test_it_equals_the_intersection_of_ngram_sets(
    texts: list[list[str]], against: list[list[str]], ngram: int
) -> None:
    def grams(text: list[str]) -> set[tuple[str, ...]]:
        if len(text) < ngram:
            return {("whole", *text)} if text else set()
        return {tuple(text[i : i + ngram]) for i in range(len(text) - ngram + 1)}

    held = set().union(*map(grams, against)) if against else set()
    expected = [row for row, text in enumerate(texts) if grams(text) & held]
    hits = found([" ".join(t) for t in texts], [" ".join(t) for t in against], ngram)
    assert [hit.index for hit in hits] == expected
    for hit in hits:
        assert hit.matched_text in " ".join(texts[hit.index])
        assert hit.matched_text in " ".join(against[hit.against_index])


def test_gsm8k_train_does_not_leak_into_test_but_planted_rows_are_found(shared_data) -> None:
    import json

    def questions(name: str) -> list[str]:
        lines = (shared_data / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["question"] for line in lines]

    train, test = questions("gsm8k_train.jsonl"), questions("gsm8k_test.jsonl")
    planted = random.Random(0).sample(range(len(test)), 20)
    texts = [*train, *(f"Please solve: {test[i]}" for i in planted)]
    hits = {hit.index: hit for hit in found(texts, test)}
    assert [i for i in range(len(train), len(texts)) if i not in hits] == []
    for hit in hits.values():
        assert len(words(hit.matched_text)) >= min(13, len(words(texts[hit.index])))
    assert len(hits) - 20 < len(train) * 0.02
