"""Templates of others: prefix rendering, its refusals, the sandbox."""

from pathlib import Path

import pytest
from tuneforge_datastore.render.rows import instruction_rows
from tuneforge_datastore.render.templating import fit
from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_specs.errors import DataError

WITHOUT_BLOCKS = {
    name: (
        "{{- bos_token }}"
        + shipped.source()
        .replace("        {%- generation %}\n", "")
        .replace("        {%- endgeneration %}\n", "")
    )
    for name, shipped in SHIPPED.items()
}

HISTORY_LOSES_THINKING = """{{- bos_token }}
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}
{%- else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture
def jinja(tmp_path: Path):
    def write(source: str) -> str:
        (tmp_path / "own.jinja").write_text(source, encoding="utf-8")
        return "own.jinja"

    return write


@pytest.mark.parametrize("chat", SHIPPED)
def test_prefix_rendering_finds_what_the_blocks_mark(
    chat: str, rules, jinja, conversations
) -> None:
    """The two ways to find a turn agree on every shipped template."""
    assert "generation" not in WITHOUT_BLOCKS[chat].replace("add_generation_prompt", "")
    ours, foreign = rules(chat), rules(jinja(WITHOUT_BLOCKS[chat]))
    assert ours.fitted.template.tracked
    assert not foreign.fitted.template.tracked
    for name, record in conversations.items():
        if name == "white space" and chat not in ("llama3", "gemma"):
            continue  # an answer that begins with white space: the prefix is the same text
        (one,) = instruction_rows([{**record, "split": "eval"}], ours)
        (other,) = instruction_rows([{**record, "split": "eval"}], foreign)
        assert one == other, name


def test_a_template_that_rewrites_history_is_refused_with_the_fix(
    rules, jinja, vocabulary, make_record, make_turn
) -> None:
    chat = jinja(HISTORY_LOSES_THINKING)
    record = make_record(
        [
            make_turn("user", "a"),
            make_turn("assistant", "<think>hm</think>one"),
            make_turn("user", "b"),
            make_turn("assistant", "<think>ha</think>two"),
        ]
    )
    with pytest.raises(DataError, match=r"s:0: .*turn 2 differently") as caught:
        instruction_rows([record], rules(chat))
    assert "train_on = 'last'" in caught.value.fix
    (row,) = instruction_rows([record], rules(chat, train_on="last"))
    ids = [token for token, on in zip(row.ids, row.mask, strict=True) if on]
    assert vocabulary.decode(ids) == "<think>ha</think>two<|im_end|>"


def test_a_template_without_terminator_is_refused(rules, jinja, make_record, make_turn) -> None:
    chat = jinja(
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    record = make_record([make_turn("user", "a"), make_turn("assistant", "b")])
    with pytest.raises(DataError, match="would not learn to stop") as caught:
        instruction_rows([record], rules(chat))
    assert "eos_token" in caught.value.fix


def test_a_block_that_leaves_the_terminator_out_is_refused(
    rules, jinja, make_record, make_turn
) -> None:
    chat = jinja(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{{ eos_token }}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    record = make_record([make_turn("user", "a"), make_turn("assistant", "b")])
    with pytest.raises(DataError, match="does not end the assistant's turn"):
        instruction_rows([record], rules(chat))


def test_blocks_that_do_not_match_the_turns_are_refused(
    rules, jinja, make_record, make_turn
) -> None:
    chat = jinja("{{ bos_token }}{% generation %}{{ messages[-1].content }}</s>{% endgeneration %}")
    turns = [make_turn("user", "a"), make_turn("assistant", "b")]
    instruction_rows([make_record(turns)], rules(chat))
    with pytest.raises(DataError, match="1 generation blocks for 2 assistant turns"):
        instruction_rows([make_record(turns * 2)], rules(chat))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ bos_token }}{{ bos_token }}{% generation %}b</s>{% endgeneration %}", "two BOS"),
        ("{{ messages[0].content }}{% generation %}b</s>{% endgeneration %}", "BOS, and the chat"),
    ],
)
def test_bos_is_there_exactly_once(
    rules, jinja, make_record, make_turn, source: str, message: str
) -> None:
    record = make_record([make_turn("user", "a"), make_turn("assistant", "b")])
    with pytest.raises(DataError, match=message):
        instruction_rows([record], rules(jinja(source)))


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append('x') }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ raise_exception.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_a_hostile_template_gets_nothing(rules, jinja, make_record, make_turn, attack: str) -> None:
    record = make_record([make_turn("user", "a"), make_turn("assistant", "b")])
    with pytest.raises(DataError):
        instruction_rows([record], rules(jinja(attack)))


def test_bad_jinja_names_file_and_line(rules, jinja) -> None:
    with pytest.raises(DataError, match=r"own\.jinja:2: .*not valid Jinja"):
        rules(jinja("{{ bos_token }}\n{% if %}"))


def test_the_tokenizers_own_template(rules, make_model, make_record, make_turn) -> None:
    record = make_record([make_turn("user", "a"), make_turn("assistant", "b")])
    source = WITHOUT_BLOCKS["chatml"]
    (expected,) = instruction_rows([record], rules("chatml", make_model(bos=True)))
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": source}]
    for held in (source, several):
        folder = make_model(bos=True, chat_template=held)
        assert instruction_rows([record], rules("tokenizer", folder)) == [expected]
    with pytest.raises(DataError, match="no chat template of its own"):
        fit("tokenizer", Vocabulary(make_model()), folder)
    (folder / "chat_template.jinja").write_text("newer {{ eos_token }}", encoding="utf-8")
    assert Vocabulary(folder).own_template() == "newer {{ eos_token }}"


@pytest.mark.parametrize(
    ("chat", "message", "fix"),
    [
        ("chatml", "needs <|im_start|>, <|im_end|>", "'alpaca'"),
        ("chatlm", "no chat template 'chatlm'", "chatml"),
        ("missing.jinja", "cannot be read", "relative to the spec"),
    ],
)
def test_templates_that_do_not_fit(
    make_model, tmp_path: Path, chat: str, message: str, fix: str
) -> None:
    plain = Vocabulary(make_model(special=[]))
    with pytest.raises(DataError, match=message.replace("|", r"\|")) as caught:
        fit(chat, plain, tmp_path)
    assert fix in caught.value.fix


def test_a_tokenizer_without_end_of_sequence_is_refused(make_model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends turns with the end-of-sequence token"):
        fit("alpaca", Vocabulary(make_model(eos_token="")), tmp_path)


def test_conversations_a_template_has_no_form_for(
    rules, make_record, make_turn, tool_conversations
) -> None:
    for chat in ("alpaca", "llama2", "gemma", "phi3", "zephyr", "vicuna", "plain"):
        with pytest.raises(DataError, match="no form for tool") as caught:
            instruction_rows([tool_conversations["calls"]], rules(chat))
        assert "choose a template" in caught.value.fix
    begins = make_record([make_turn("system", "s"), make_turn("assistant", "a")])
    for chat in ("llama2", "gemma", "mistral"):
        with pytest.raises(DataError, match="system prompt"):
            instruction_rows([begins], rules(chat))
