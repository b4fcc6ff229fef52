"""Whole datasets to Parquet: columns, verdicts, checks, the same bytes every time."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tuneforge_datastore.render import dataset, pool
from tuneforge_datastore.render.dataset import render_dataset
from tuneforge_datastore.render.lint import lint
from tuneforge_specs.datasets import Template
from tuneforge_specs.errors import DataError


@pytest.fixture
def render(tmp_path: Path, model: Path, kept):
    def run(records, name: str = "out", folder: Path = model, threads: int = 1, **options):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        template = Template(**{"max_tokens": 200, **options})
        render_dataset(
            kept(records), folder, template, directory=tmp_path, out=out, threads=threads
        )
        return out

    return run


def rows(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


@pytest.fixture
def talks(make_record, make_turn):
    return [
        make_record(
            [make_turn("user", f"question {i}"), make_turn("assistant", f"answer {i}")],
            split="eval" if i % 5 == 0 else "train",
        )
        for i in range(50)
    ]


def test_instruction_columns(render, talks, vocabulary) -> None:
    out = render(talks)
    train, held = rows(out / "train.parquet"), rows(out / "eval.parquet")
    assert (len(train), len(held)) == (40, 10)
    assert train[0].keys() == {
        "record_id", "input_ids", "loss_mask", "n_tokens", "n_supervised", "verdict",
    }  # fmt: skip
    assert held[0].keys() == train[0].keys() | {"prompt_ids", "reference"}
    assert train[0]["record_id"] == "s:1"
    assert train[0]["n_tokens"] == len(train[0]["input_ids"]) == len(train[0]["loss_mask"])
    assert train[0]["n_supervised"] == sum(train[0]["loss_mask"])
    assert held[1]["reference"] == "answer 5"
    prompt = held[1]["prompt_ids"]
    assert held[1]["input_ids"][: len(prompt)] == prompt
    about = json.loads((out / "rendering.json").read_text())
    assert about["mode"] == "sft"
    assert about["bos"] == vocabulary.bos
    assert about["terminators"] == [vocabulary.special["<|im_end|>"], vocabulary.eos]
    assert about["counts"]["train"] == 40
    assert about["counts"]["n_supervised"] == sum(row["n_supervised"] for row in train)
    assert about["chat_template"].startswith("{{- bos_token }}")


def on_several(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Make few records be many: rendered by several threads, or processes."""
    monkeypatch.setattr(dataset, "CHUNK", 7)
    monkeypatch.setattr(pool, "FEW", 7)
    if kind == "processes":
        monkeypatch.setattr(pool, "MANY", 10)
        monkeypatch.setattr(pool, "CORES_FOR_PROCESSES", 2)


def digests(out: Path) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(out.iterdir())]


@pytest.mark.parametrize(("kind", "cores"), [("threads", 2), ("threads", 5), ("processes", 2)])
def test_the_bytes_are_the_same_on_any_number_of_cores(
    render, talks, kind: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 7)
    alone = digests(render(talks, "one"))
    on_several(monkeypatch, kind)
    assert digests(render(talks, "several", threads=cores)) == alone


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_error_on_another_core_arrives_whole(
    render, talks, make_record, make_turn, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_several(monkeypatch, kind)
    talks[30] = make_record([make_turn("user", "no answer")])
    with pytest.raises(DataError, match=r"record s:30: no token of the record would be trained"):
        render(talks, threads=2)


def test_long_records_are_dropped_cut_or_refused(render, talks, make_record, make_turn) -> None:
    talks[1] = make_record([make_turn("user", "q"), make_turn("assistant", "word " * 300)])
    talks[2] = make_record([make_turn("user", "word " * 300), make_turn("assistant", "a")])

    verdicts = {row["record_id"]: row for row in rows(render(talks) / "verdicts.parquet")}
    assert len(verdicts) == 50
    assert verdicts["s:0"]["verdict"] == "whole"
    assert verdicts["s:1"]["verdict"] == verdicts["s:2"]["verdict"] == "dropped"
    assert "more than max_tokens = 200" in verdicts["s:1"]["reason"]
    assert verdicts["s:1"]["n_tokens"] > 300

    out = render(talks, "cut", overflow="truncate")
    cut = next(row for row in rows(out / "train.parquet") if row["record_id"] == "s:1")
    assert (cut["verdict"], cut["n_tokens"]) == ("truncated", 200)
    verdicts = {row["record_id"]: row for row in rows(out / "verdicts.parquet")}
    assert verdicts["s:1"]["verdict"] == "truncated"
    assert verdicts["s:2"]["verdict"] == "dropped"
    assert "nothing trained is left" in verdicts["s:2"]["reason"]

    with pytest.raises(DataError, match=r"record s:1: the record has [0-9,]+ tokens") as caught:
        render(talks, overflow="error")
    assert "template.overflow" in caught.value.fix


def test_control_tokens_in_the_text_are_left_out(render, talks, make_record, make_turn) -> None:
    talks[3] = make_record([make_turn("user", "say <|im_end|>"), make_turn("assistant", "no")])
    verdicts = rows(render(talks) / "verdicts.parquet")
    assert verdicts[3]["verdict"] == "dropped"
    assert verdicts[3]["reason"] == "the text contains the control token <|im_end|>"


def test_nothing_left_is_an_error(render, talks, make_record, make_turn) -> None:
    with pytest.raises(DataError, match="no record of 50 is left to train on") as caught:
        render(talks, max_tokens=3)
    assert "max_tokens" in caught.value.fix
    with pytest.raises(DataError, match="no records"):
        render([])
    with pytest.raises(DataError, match="kinds that do not train together"):
        render([*talks, make_record(kind="preference")])


def test_a_default_system_turn(render, talks, vocabulary, make_record, make_turn) -> None:
    talks[1] = make_record(
        [make_turn("system", "Own."), make_turn("user", "q"), make_turn("assistant", "a")]
    )
    train = rows(render(talks, system="Be brief.") / "train.parquet")
    texts = [vocabulary.decode(row["input_ids"]) for row in train]
    assert "system\nOwn.<|im_end|>" in texts[0]
    assert "Be brief." not in texts[0]
    assert all("system\nBe brief.<|im_end|>" in text for text in texts[1:])


def test_texts_end_with_eos_and_train_whole(render, make_record, vocabulary) -> None:
    out = render([make_record(kind="text", text=text) for text in ("one text", "w " * 500)])
    (row,) = rows(out / "train.parquet")
    assert vocabulary.decode(row["input_ids"]) == "<s>one text</s>"
    assert row["loss_mask"] == [0] + [1] * (row["n_tokens"] - 1)
    assert json.loads((out / "rendering.json").read_text())["mode"] == "text"
    out = render([make_record(kind="text", text="w " * 500)], overflow="truncate")
    cut = rows(out / "train.parquet")
    assert [(row["verdict"], row["n_tokens"]) for row in cut] == [("truncated", 200)]


def test_texts_and_instructions_mix_in_order(render, talks, make_record) -> None:
    talks[2] = make_record(kind="text", text="between")
    train = rows(render(talks) / "train.parquet")
    assert [row["record_id"] for row in train[:4]] == ["s:1", "s:2", "s:3", "s:4"]


def test_the_terminators_of_a_foreign_template_are_seen(
    render, talks, make_model, vocabulary
) -> None:
    source = (
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}"
        "<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
    )
    out = render(talks, chat="tokenizer", folder=make_model(chat_template=source))
    about = json.loads((out / "rendering.json").read_text())
    assert about["terminators"] == [vocabulary.special["<|eot_id|>"], vocabulary.eos]


@pytest.fixture
def preferences(make_record, make_turn):
    return [
        make_record(
            [make_turn("user", f"q {i}")],
            kind="preference",
            chosen=[make_turn("assistant", f"good {i}")],
            rejected=[make_turn("assistant", f"a much worse answer {i}")],
        )
        for i in range(5)
    ]


@pytest.mark.parametrize("chat", ["chatml", "llama3", "alpaca", "mistral", "plain"])
def test_preferences(render, preferences, vocabulary, rules, chat: str) -> None:
    out = render(preferences, chat=chat)
    row = rows(out / "train.parquet")[1]
    for side, answer in (("chosen", "good 1"), ("rejected", "a much worse answer 1")):
        whole = vocabulary.decode(row["prompt_ids"] + row[f"{side}_ids"])
        talk = [*preferences[1]["messages"], *preferences[1][side]]
        expected = rules(chat).fitted.template.render(
            [{"role": turn["role"], "content": turn["content"]} for turn in talk], None
        )
        assert expected.startswith(whole)
        assert not expected[len(whole) :].strip()
        said = vocabulary.decode(row[f"{side}_ids"])
        assert said.strip().startswith(answer)
        ending = row[f"{side}_ids"][-1]
        assert ending in json.loads((out / "rendering.json").read_text())["terminators"]


def test_one_prompt_for_both_answers_where_tokens_lie_across(
    render, preferences, vocabulary, make_turn
) -> None:
    preferences[0]["chosen"] = [make_turn("assistant", "\n\nindented")]
    (row, *_) = rows(render(preferences, chat="alpaca") / "train.parquet")
    assert vocabulary.decode(row["prompt_ids"]).endswith("### Response:\n")
    assert vocabulary.decode(row["chosen_ids"]) == "\n\nindented</s>"
    assert vocabulary.decode(row["rejected_ids"]) == "a much worse answer 0</s>"


def test_long_preferences(render, preferences, make_turn) -> None:
    preferences[0]["rejected"] = [make_turn("assistant", "word " * 300)]
    preferences[1]["messages"] = [make_turn("user", "word " * 300)]
    verdicts = rows(render(preferences) / "verdicts.parquet")
    assert [row["verdict"] for row in verdicts] == ["dropped"] * 2 + ["whole"] * 3
    out = render(preferences, "cut", overflow="truncate")
    verdicts = rows(out / "verdicts.parquet")
    assert [row["verdict"] for row in verdicts] == ["truncated", "dropped"] + ["whole"] * 3
    first = rows(out / "train.parquet")[0]
    assert len(first["prompt_ids"]) + len(first["rejected_ids"]) == 200


def test_unpaired(render, make_record, make_turn, vocabulary) -> None:
    talk = [make_turn("user", "q"), make_turn("assistant", "a")]
    out = render([make_record(talk, kind="unpaired", label=label) for label in (True, False)])
    good, bad = rows(out / "train.parquet")
    assert (good["label"], bad["label"]) == (True, False)
    assert vocabulary.decode(good["completion_ids"]) == "a<|im_end|>"
    with pytest.raises(DataError, match="record s:0: a completion does not end with an assistant"):
        render([make_record(talk[:1], kind="unpaired", label=True)])


class TestLint:
    @pytest.fixture
    def failed(self, model):
        def names(out: Path, chat: str = "chatml", folder: Path = model) -> dict[str, str]:
            checks = lint(out, folder, Template(chat=chat))
            return {check.name: check.example for check in checks if check.failures}

        return names

    def test_good_renderings_pass(self, render, talks, preferences, failed, make_record) -> None:
        for chat in ("chatml", "llama3", "alpaca", "zephyr", "llama2"):
            assert failed(render(talks, chat=chat), chat) == {}
            assert failed(render(preferences, chat=chat), chat) == {}
        assert failed(render([make_record(kind="text", text="a text")])) == {}

    @pytest.mark.parametrize(
        ("check", "spoil"),
        [
            ("supervised", lambda row: row.update(loss_mask=[0] * row["n_tokens"], n_supervised=0)),
            ("supervised", lambda row: row.update(input_ids=[], loss_mask=[])),
            ("counts", lambda row: row.update(n_tokens=row["n_tokens"] + 1)),
            (
                "length",
                lambda row: row.update({k: row[k] * 20 for k in ("input_ids", "loss_mask")}),
            ),
            ("vocabulary", lambda row: row["input_ids"].__setitem__(3, 10**6)),
            ("terminator", lambda row: row["input_ids"].__setitem__(-2, 50)),
            ("bos", lambda row: row["input_ids"].__setitem__(0, 50)),
            ("double-bos", lambda row: row["input_ids"].__setitem__(1, 0)),
        ],
    )
    def test_each_fault_is_found(self, render, talks, failed, check: str, spoil) -> None:
        out = render(talks)
        table = pq.read_table(out / "train.parquet")
        spoiled = table.to_pylist()
        spoil(spoiled[7])
        pq.write_table(table.from_pylist(spoiled, table.schema), out / "train.parquet")
        assert failed(out)[check] == spoiled[7]["record_id"]

    def test_template_and_tokenizer_that_do_not_match(
        self, render, talks, failed, make_model
    ) -> None:
        out = render(talks)
        other = make_model(special=["<|im_start|>"], chat_template="{{ messages[0].content }}")
        found = failed(out, folder=other)
        assert found["unknown-special-tokens"] == "<|im_end|>"
        assert "tokenizer" in found
        assert "template-mismatch" in found
