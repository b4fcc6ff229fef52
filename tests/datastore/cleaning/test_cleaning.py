"""Cleaning: what each rule repairs, what it leaves alone, and that every change is on file."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import ftfy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore import sql
from tuneforge_datastore.cleaning.rules import FLAGS, RULES, control, nfc, whitespace
from tuneforge_datastore.cleaning.suspects import flags
from tuneforge_specs.datasets import Clean

BROKEN = {
    "mojibake": "The cafÃ© wonâ€™t open",
    "control": "a\x00b\x1b[31mred\x1b[0m",
    "nfc": "cafe\u0301",
    "whitespace": "one \r\ntwo\n\n\n\n\n\nthree \n",
}
CLEANED = {
    "mojibake": "The café won’t open",
    "control": "abred",
    "nfc": "café",
    "whitespace": "one\ntwo\n\n\nthree",
}


def only(rule: str) -> dict[str, bool]:
    return {name: name == rule for name in RULES}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_by_itself(bench: Any, rule: str) -> None:
    rows = [{"prompt": f"p{n}", "completion": text} for n, text in enumerate(BROKEN.values())]
    source = bench.source("a", rows)
    made = bench.curate({"a": source}, clean=only(rule))
    expected = {**BROKEN, rule: CLEANED[rule]}
    assert [row["completion"] for row in bench.kept()] == list(expected.values())
    funnel = [(step["rule"], step["changed"]) for step in made.funnel if step["stage"] == "clean"]
    assert funnel == [(rule, 1)]
    assert bench.curate({"a": source}, clean=dict.fromkeys(RULES, False)).kept == 4
    assert [row["completion"] for row in bench.kept()] == list(BROKEN.values())


def test_all_rules_are_on_once_cleaning_is(bench: Any) -> None:
    rows = [{"prompt": f"p{n}", "completion": text} for n, text in enumerate(BROKEN.values())]
    source = bench.source("a", rows)
    bench.curate({"a": source}, clean={})
    assert [row["completion"] for row in bench.kept()] == list(CLEANED.values())
    bench.curate({"a": source})
    assert [row["completion"] for row in bench.kept()] == list(BROKEN.values())
    assert pq.read_table(bench.folder / "dataset" / "changes.parquet").num_rows == 0
    assert set(Clean.model_fields) == set(RULES) == set(FLAGS)


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return 1\n\n\n    # two blank lines",
        "    indented code\n    more",
        "Ünïcödé, “quotes” – dashes… and naïve façades",
        "中文没有问题。日本語も、한국어도.",
        "Привет, как дела?",
        "tab\tand  two blanks",
        "emoji 👩‍👩‍👧 stays",
        "right-to-left עברית",
    ],
)
def test_sound_text_stays(bench: Any, text: str) -> None:
    source = bench.source("a", [{"prompt": "p", "completion": text}])
    bench.curate({"a": source}, clean={})
    assert bench.kept()[0]["completion"] == text


def test_every_text_of_every_kind_is_cleaned(bench: Any) -> None:
    turns = [
        {"role": "system", "content": "Be \x07brief."},
        {"role": "user", "content": "One? "},
        {"role": "assistant", "content": "cafÃ©"},
    ]
    call = {"name": "f", "arguments": '{"a": "x \\u0007"}'}
    turns[2]["tool_calls"] = [{"id": "1", "function": call}]  # type: ignore[assignment]
    pair = {"prompt": "p ", "chosen": "c\x00", "rejected": "r\r"}
    for name, row in {
        "chat": {"messages": turns},
        "pair": pair,
        "text": {"text": "\ufefft "},
    }.items():
        source = bench.source(name, [row])
        bench.curate({name: source}, clean={})
        (kept,) = bench.kept()
        (raw,) = pq.read_table(source / "records.parquet").to_pylist()
        texts = [
            turn["content"] for side in ("messages", "chosen", "rejected") for turn in kept[side]
        ]
        if name == "chat":
            assert texts == ["Be brief.", "One?", "café"]
            assert (kept["system"], kept["prompt"], kept["completion"]) == (
                "Be brief.",
                "One?",
                "café",
            )
            assert kept["messages"][2]["tool_calls"] == raw["messages"][2]["tool_calls"]
        elif name == "pair":
            assert texts == ["p", "c", "r"]
            assert (kept["prompt"], kept["completion"]) == ("p", "c")
        else:
            assert (kept["text"], kept["completion"]) == ("t", "t")


def test_the_cleaned_text_is_what_every_later_stage_sees(bench: Any) -> None:
    rows = [
        {"prompt": "p", "completion": text} for text in ("café au lait", "cafÃ© au lait", "x\x00")
    ]
    source = bench.source("a", [*rows, {"prompt": "q", "completion": "  "}])
    filters = [
        {"kind": "sql", "name": "nul", "keep": "completion <> 'x'"},
        {"kind": "encoding"},
        {"kind": "sql", "name": "blank", "keep": "messages[2].content <> ''"},
    ]
    bench.curate({"a": source}, clean={}, filters=filters)
    dropped = {one: (row["rule"], row["witness"]) for one, row in bench.dropped().items()}
    assert dropped == {"a:1": ("exact-duplicate", "a:0"), "a:2": ("nul", ""), "a:3": ("blank", "")}


def test_patches_reach_the_right_rows_of_many_pieces(bench: Any) -> None:
    def text(n: int) -> str:
        return f"text {n}" + " \x00" * (n % 5000 == 4999 or 9000 < n < 9020)

    first = bench.source("a", [{"prompt": "p", "completion": text(n)} for n in range(20_000)])
    second = bench.source("b", [{"prompt": "q", "completion": text(n)} for n in range(30)])
    made = bench.curate({"b": second, "a": first}, clean={}, dedup={"exact": False})
    kept = bench.kept()
    assert [row["completion"] for row in kept[30:]] == [f"text {n}" for n in range(20_000)]
    counted = {step["rule"]: step["changed"] for step in made.funnel if step["stage"] == "clean"}
    assert counted == {"mojibake": 0, "control": 23, "nfc": 0, "whitespace": 23}


def test_originals_are_kept_and_queryable(bench: Any, repository: Path) -> None:
    rows = [
        {"prompt": "fine", "completion": BROKEN["whitespace"] + "cafÃ© "},
        {"prompt": "a", "completion": "b"},
    ]
    source = bench.source("src", rows)
    bench.curate({"src": source}, clean={})
    dataset = ("dataset", "instruct", bench.folder / "dataset")
    workspace = bench.publish(("source", "src", source), dataset)
    found = sql.query(
        workspace, "SELECT id, field, rule, before, after FROM instruct_changes ORDER BY rule"
    ).rows
    repaired = BROKEN["whitespace"] + "café "
    assert found == [
        ("src:0", "messages[1].content", "mojibake", BROKEN["whitespace"] + "cafÃ© ", repaired),
        ("src:0", "messages[1].content", "whitespace", repaired, whitespace(repaired)),
    ]
    assert sql.query(workspace, "SELECT dataset, count(*) FROM changes GROUP BY 1").rows == [
        ("instruct", 2)
    ]
    changed = sql.query(workspace, "SELECT rule, changed FROM instruct_funnel WHERE changed > 0")
    assert changed.rows == [("mojibake", 1), ("whitespace", 1)]
    funnel = json.loads((bench.folder / "dataset" / "funnel.json").read_text())
    assert all(step["in"] == step["out"] for step in funnel if step["stage"] == "clean")


TEXT = st.text(
    st.sampled_from(
        "aé \t\n\r\x00\x1b[31m\x85\x9f\xa0ÃÂâ€™\u0301\u2000\u2028\ufeff中Д‘“ﬁ😀\u212b\u1100\u1161"
    ),
    max_size=12,
)


@given(st.lists(TEXT | st.none(), max_size=8))
def test_no_text_that_needs_it_is_passed_over(texts: list[str | None]) -> None:
    raised = flags(pa.array(["before", *texts], pa.string()).slice(1)).tolist()
    for text, flag in zip(texts, raised, strict=True):
        for rule in ("control", "nfc", "whitespace"):
            if text is not None and RULES[rule][0](text) != text:
                assert flag & FLAGS[rule], (rule, text)


@given(TEXT)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = whitespace(nfc(control(text)))
    assert whitespace(nfc(control(once))) == once
    assert unicodedata.is_normalized("NFC", once)


def test_every_wrong_decoding_of_real_sentences_is_flagged() -> None:
    # Independent of the byte patterns: texts broken on purpose, judged by ftfy itself.
    sound = "Él dijo “¿qué?” — naïve señor, Ærøskøbing, Œuvre, Łódź, Привет мир, Ελλάδα, ça va…"
    broken = [sound]
    for encoding in ("latin-1", "cp1252", "cp1250", "cp1251", "mac_roman", "cp437", "iso-8859-2"):
        for word in sound.split():
            broken.append(word.encode().decode(encoding, "replace"))
            broken.append(f"in a sentence {broken[-1]} of words")
    raised = flags(pa.array(broken)) & FLAGS["mojibake"]
    missed = [
        text
        for text, flag in zip(broken, raised.tolist(), strict=True)
        if not flag and ftfy.fix_encoding(text) != text
    ]
    assert missed == []
