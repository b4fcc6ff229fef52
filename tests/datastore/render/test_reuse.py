"""Rows of an earlier rendering taken over: the bytes are those of a rendering from nothing."""

import copy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuneforge_datastore.render import dataset
from tuneforge_datastore.render import earlier as earlier_rows
from tuneforge_datastore.render.dataset import Summary, render_dataset
from tuneforge_specs.datasets import Template

FILES = ("train.parquet", "eval.parquet", "verdicts.parquet", "reuse.parquet", "rendering.json")


@pytest.fixture
def render(tmp_path: Path, model: Path, kept):
    def run(records, name: str, *earlier: str, folder: Path = model, **options) -> Summary:
        (tmp_path / name).mkdir()
        return render_dataset(
            kept(records),
            folder,
            Template(**{"max_tokens": 200, **options}),
            directory=tmp_path,
            out=tmp_path / name,
            threads=2,
            earlier=lambda _rules: [tmp_path / one for one in earlier],
        )

    return run


@pytest.fixture
def equal(tmp_path: Path):
    def check(one: str, other: str) -> bool:
        files = ((tmp_path / one / file, tmp_path / other / file) for file in FILES)
        return all(a.read_bytes() == b.read_bytes() for a, b in files)

    return check


@pytest.fixture
def talks(make_record, make_turn):
    """Conversations of all verdicts, one that comes twice, and texts."""
    made = []
    for i in range(60):
        turns = [make_turn("user", f"question {i}"), make_turn("assistant", f"answer {i}")]
        if i % 9 == 4:
            turns = [make_turn(turn["role"], "word " * 30) for turn in turns * 5]
        if i % 13 == 5:
            turns[0] = make_turn("user", "say <|im_end|>")
        if i % 11 == 7:
            made.append(make_record(kind="text", text=f"text {i} " * (i * 3)))
            continue
        made.append(make_record(turns, split="eval" if i % 5 == 0 else "train"))
    return [*made, copy.deepcopy(made[1])]


def changed(records, make_record, make_turn):
    """Insert, delete, edit and move between the splits; ids change with every insertion."""
    new = [
        make_record([make_turn("user", f"new {i}"), make_turn("assistant", "a")]) for i in (1, 2)
    ]
    edited = copy.deepcopy(records)
    edited[20]["messages"][1]["content"] += "!"
    edited[21]["split"] = "eval" if edited[21]["split"] == "train" else "train"
    edited[24]["messages"][1]["weight"] = 0.0
    edited[24]["messages"] += [make_turn("user", "u"), make_turn("assistant", "v")]
    del edited[10:13]
    return [new[0], *edited[30:], *edited[:30], new[1]], 5


@pytest.mark.parametrize(
    "overflow", ["drop", "truncate", "truncate-left", "truncate-middle", "split"]
)
def test_bytes_are_those_of_a_rendering_from_nothing(
    render, equal, talks, make_record, make_turn, overflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 7)
    monkeypatch.setattr(earlier_rows, "HELD", 2)
    render(talks, "before", overflow=overflow)
    after, new = changed(talks, make_record, make_turn)
    assert render(after, "alone", overflow=overflow).reused == 0
    assert render(after, "with", "before", overflow=overflow).reused == len(after) - new
    assert equal("alone", "with")
    # What was taken over can be taken over again, and from either of two.
    assert render(after, "again", "with", overflow=overflow).reused == len(after)
    assert equal("alone", "again")
    both = [*after, *talks[10:13]]
    assert render(both, "both", "before", "with", overflow=overflow).reused == len(both)
    render(both, "both alone", overflow=overflow)
    assert equal("both alone", "both")


@pytest.mark.parametrize("kind", ["preference", "unpaired"])
def test_pairs_and_labelled_answers(render, equal, make_record, make_turn, kind: str) -> None:
    def one(i: int, answer: str = "good"):
        question = make_turn("user", f"question {i} " * (1 + 200 * (i % 7 == 3)))
        good, bad = make_turn("assistant", f"{answer} {i}"), make_turn("assistant", f"bad {i}")
        split = "eval" if i % 4 == 0 else "train"
        if kind == "unpaired":
            return make_record([question, good], kind=kind, label=i % 2 == 0, split=split)
        return make_record([question], kind=kind, chosen=[good], rejected=[bad], split=split)

    render([one(i) for i in range(20)], "before")
    after = [one(i) for i in (30, *range(5, 20))] + [one(3, "better"), {**one(2), "label": False}]
    render(after, "alone")
    summary = render(after, "with", "before")
    assert equal("alone", "with")
    assert summary.reused == 15


def test_terminators_of_rows_taken_over_count(
    render, equal, talks, make_model, make_record, make_turn, tmp_path: Path
) -> None:
    source = (
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}"
        "{% if 'tool' in m.content %}<|eom_id|>{% else %}<|eot_id|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
    )
    own = make_model(chat_template=source, special=[
        "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
    ])  # fmt: skip
    calls = make_record([make_turn("user", "q"), make_turn("assistant", "a tool")])
    options = {"folder": own, "chat": "tokenizer"}
    before = render([calls, *talks[:4]], "before", **options)
    assert len(before.terminators) == 3
    alone = render([calls, talks[0], talks[8]], "alone", **options)
    assert render([calls, talks[0], talks[8]], "with", "before", **options).reused == 2
    assert alone.terminators == before.terminators
    assert equal("alone", "with")


def test_rules_name_all_that_rows_depend_on(render, talks, make_model, tmp_path: Path) -> None:
    seen = {"": render(talks, "first").rules}
    others = {
        "length": lambda: {"max_tokens": 199},
        "template": lambda: {"chat": "qwen"},
        "trained": lambda: {"train_on": "last"},
        "system": lambda: {"system": "Be brief."},
        "overflow": lambda: {"overflow": "split"},
        "tokenizer": lambda: {"folder": make_model()},
        "end of sequence": lambda: {"folder": make_model(eos_token="<s>")},
    }
    for number, (what, options) in enumerate(others.items()):
        seen[what] = render(talks, f"other {number}", **options()).rules
    assert len({*seen.values()}) == len(seen)
    assert render(talks, "second").rules == seen[""]


def test_a_template_that_writes_the_time_is_rendered_again(render, talks, tmp_path: Path) -> None:
    (tmp_path / "dated.jinja").write_text(
        "{{ bos_token }}{{ strftime_now('%Y') }}{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
        "{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert render(talks[:4], "one", chat="dated.jinja").rules == ""
    assert render(talks[:4], "two", "one", chat="dated.jinja").reused == 0


def test_only_content_counts(render, talks, tmp_path: Path, model: Path) -> None:
    """Columns of the data that rendering does not read, and ids, change nothing."""
    render(talks, "before")
    file = tmp_path / "kept.parquet"
    table = pq.read_table(file)
    lines = pa.array(range(100, 100 + table.num_rows))
    pq.write_table(table.append_column("line", lines), file)
    out = tmp_path / "after"
    out.mkdir()
    summary = render_dataset(
        file,
        model,
        Template(max_tokens=200),
        directory=tmp_path,
        out=out,
        earlier=lambda _rules: [tmp_path / "before"],
    )
    assert summary.reused == table.num_rows
