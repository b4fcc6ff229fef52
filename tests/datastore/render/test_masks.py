"""Masks token by token: exactly what the assistant says, and the terminator."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuneforge_datastore.render.masks import cuts_between, tokens_of
from tuneforge_datastore.render.rows import instruction_rows
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_specs.errors import DataError


def trained(row, vocabulary) -> str:
    return vocabulary.decode([token for token, on in zip(row.ids, row.mask, strict=True) if on])


EXPECTED = {
    "chatml": "{}<|im_end|>",
    "qwen": "{}<|im_end|>",
    "llama3": "{}<|eot_id|>",
    "gemma": "{}<end_of_turn>",
    "phi3": "{}<|end|>",
    "alpaca": "{}</s>",
    "zephyr": "{}</s>",
    "plain": "{}</s>",
    "vicuna": " {}</s>",
    "mistral": " {}</s>",
    "llama2": " {} </s>",
}


@pytest.mark.parametrize("chat", SHIPPED)
def test_the_mask_is_the_answers_and_their_terminators(
    chat: str, rules, vocabulary, make_record, make_turn
) -> None:
    record = make_record(
        [
            make_turn("system", "Be kind."),
            make_turn("user", "Hello"),
            make_turn("assistant", "Wörld 🙂"),
            make_turn("user", "More"),
            make_turn("assistant", "今天"),
        ]
    )
    form = EXPECTED[chat]
    first, second = form.format("Wörld 🙂"), form.format("今天")
    for train_on, expected in (("assistant", first + second), ("last", second)):
        (row,) = instruction_rows([record], rules(chat, train_on=train_on))
        assert trained(row, vocabulary) == expected
    (row,) = instruction_rows([record], rules(chat, train_on="all"))
    assert row.ids[0] == vocabulary.bos
    assert list(row.mask) == [0] + [1] * (len(row.ids) - 1)


def test_weight_zero_excludes_a_turn(rules, vocabulary, make_record, make_turn) -> None:
    turns = [
        make_turn("user", "a"),
        make_turn("assistant", "wrong", weight=0.0),
        make_turn("user", "b"),
        make_turn("assistant", "right", weight=None),
    ]
    (row,) = instruction_rows([make_record(turns)], rules())
    assert trained(row, vocabulary) == "right<|im_end|>"
    (row,) = instruction_rows([make_record(turns)], rules(train_on="all"))
    assert "wrong<|im_end|>" not in trained(row, vocabulary)
    assert "right<|im_end|>" in trained(row, vocabulary)
    turns[3]["weight"] = 0.5
    with pytest.raises(DataError, match=r"s:0.*weight 0\.5"):
        instruction_rows([make_record(turns)], rules())


def test_tool_calls_are_trained(rules, vocabulary, tool_conversations) -> None:
    (row,) = instruction_rows([tool_conversations["calls"]], rules("qwen"))
    said = trained(row, vocabulary)
    assert said.startswith('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich"}}')
    assert said.endswith("<|im_end|>21 and 25 degrees.<|im_end|>")
    assert 'degrees": 21' not in said


TURN = st.text(st.sampled_from("ab éß今🙂\n\t.<|>{}"), max_size=12)


@given(
    st.lists(st.tuples(TURN, TURN), min_size=1, max_size=4),
    TURN,
    st.sampled_from(["chatml", "phi3"]),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_conversation(
    rules, vocabulary, make_record, make_turn, pairs: list[tuple[str, str]], system: str, chat: str
) -> None:
    turns: list[dict[str, Any]] = [make_turn("system", system)]
    for asked, said in pairs:
        turns += [make_turn("user", asked), make_turn("assistant", said)]
    (row,) = instruction_rows([make_record(turns)], rules(chat))
    end = {"chatml": "<|im_end|>", "phi3": "<|end|>"}[chat]
    exact = "".join(f"{said}{end}" for _, said in pairs)
    found = trained(row, vocabulary)
    # White space at the start of an answer may share a token with the line break of the header.
    if all(said[:1].strip() for _, said in pairs if said):
        assert found == exact
    assert "".join(found.split()) == "".join(exact.split())


def test_a_token_across_the_boundary_is_trained(rules, vocabulary, make_record, make_turn) -> None:
    (row,) = instruction_rows(
        [make_record([make_turn("user", "a"), make_turn("assistant", "\n\nb")])], rules("alpaca")
    )
    text = trained(row, vocabulary)
    # The line break of the header and the first of the answer are one token of this vocabulary.
    assert text == "\n\n\nb</s>"


class TestTokensOfSpans:
    @pytest.fixture
    def encode(self, vocabulary):
        return lambda text: vocabulary.encode([text])[0]

    def test_a_character_of_several_tokens_is_taken_whole(self, encode) -> None:
        encoding = encode("a龘龘b")
        assert len(encoding.ids) > 4  # three bytes a character, none of them merged
        assert tokens_of(encoding, 1, 2, set()) == (1, 4)
        assert tokens_of(encoding, 2, 3, set()) == (4, 7)
        assert tokens_of(encoding, 0, 4, set()) == (0, len(encoding.ids))

    def test_an_empty_span_has_no_tokens(self, encode) -> None:
        assert tokens_of(encode("abc"), 1, 1, set()) == (0, 0)

    def test_a_cut_through_a_token_is_seen(self, encode, vocabulary) -> None:
        encoding = encode("x\n\n\ny")
        assert vocabulary.decode([encoding.ids[1]]) == "\n\n"
        assert cuts_between(encoding, 1) == 1
        assert cuts_between(encoding, 2) is None

    def test_a_special_token_that_swallows_white_space_is_not_the_assistants(
        self, tmp_path
    ) -> None:
        from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

        tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.add_special_tokens([AddedToken("<|x|>", rstrip=True)])
        encoding = tokenizer.encode("a<|x|>  b", add_special_tokens=False)
        assert encoding.tokens == ["a", "<|x|>  ", "b"]
        special = {tokenizer.token_to_id("<|x|>")}
        assert tokens_of(encoding, 7, 9, special) == (2, 3)
