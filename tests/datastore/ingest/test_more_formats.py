"""ChatML, Dolly, OpenAssistant trees, rated answers, OpenAI files: what their rows become."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from tuneforge_specs.errors import DataError
from tuneforge_specs.sources import SourceBase

TALK = [("user", "Hi"), ("assistant", "Hello")]
CHATML = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"


def read(bench: Any, *rows: dict[str, Any], **keys: Any) -> list[dict[str, Any]]:
    bench.file("rows.jsonl", list(rows))
    return bench.records(**keys)  # type: ignore[no-any-return]


def said(turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


def recognised(bench: Any) -> tuple[str, str]:
    told = json.loads((bench.folder / "ingested" / "src" / "source.json").read_text())
    return told["files"][0]["format"], told["files"][0]["why"]


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"text": CHATML}, "chatml"),
        ({"conversation": CHATML}, "chatml"),
        ({"text": CHATML.removesuffix("<|im_end|>\n")}, "chatml"),
        ({"instruction": "Hi", "response": "Hello", "category": "open_qa"}, "dolly"),
        ({"instruction": "Hi", "context": "", "response": "Hello"}, "dolly"),
        ({"data": ["Hi", "Hello"], "id": "1"}, "sharegpt"),
        (
            {"items": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            "sharegpt",
        ),
        (
            {"conversation": [{"human": "Hi", "assistant": "Hello"}], "conversation_id": 3},
            "sharegpt",
        ),
        ({"conversations": [{"user": "Hi", "assistant": "Hello"}]}, "sharegpt"),
        ({"conversation": [{"system": "", "input": "Hi", "output": "Hello"}]}, "sharegpt"),
    ],
)
def test_one_exchange(bench: Any, row: dict[str, Any], form: str) -> None:
    (found,) = read(bench, row)
    assert said(found["messages"]) == TALK
    assert (found["id"], found["kind"]) == ("src:0", "instruction")
    assert recognised(bench)[0] == form


def test_chatml_keeps_every_turn_and_its_inner_text(bench: Any) -> None:
    text = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na\n\n<b><|im_end|>\n"
        "<|im_start|>assistant\n<|im_end|>\n<|im_start|>tool\n3<|im_end|>"
    )
    (found,) = read(bench, {"text": text, "n": 1})
    assert said(found["messages"]) == [
        ("system", "Be brief."),
        ("user", "a\n\n<b>"),
        ("assistant", ""),
        ("tool", "3"),
    ]
    assert json.loads(found["meta"]) == {"n": 1}
    assert recognised(bench) == ("chatml", "<|im_start|> turns in column text")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHATML + "and more", "'and more' is in no turn"),
        (CHATML.replace("user", "wizard"), "unknown role 'wizard'"),
        ("plain", r"no column begins with <\|im_start\|>"),
    ],
)
def test_chatml_that_is_broken(bench: Any, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(bench, {"text": text}, format="chatml")


def test_text_among_chatml_is_text(bench: Any) -> None:
    assert [row["kind"] for row in read(bench, {"text": CHATML}, {"text": "plain"})] == ["text"] * 2


def test_dolly_puts_the_context_after_the_question(bench: Any) -> None:
    row = {"instruction": "Who?", "context": "Ada wrote.", "response": "Ada", "category": "qa"}
    (found,) = read(bench, row)
    assert (found["prompt"], found["completion"]) == ("Who?\n\nAda wrote.", "Ada")
    assert json.loads(found["meta"]) == {"category": "qa"}
    assert recognised(bench) == ("dolly", "columns instruction, context, response")
    with pytest.raises(DataError, match="'response' is missing"):
        read(bench, {"instruction": "Who?"}, format="dolly")


def node(name: str, role: str, *replies: Any, rank: int | None = None) -> dict[str, Any]:
    return {
        "message_id": name,
        "role": role,
        "text": f"text {name}",
        "rank": rank,
        "replies": list(replies),
    }


TREE = node(
    "q",
    "prompter",
    node("worst", "assistant", rank=2),
    node(
        "best",
        "assistant",
        node("q2", "prompter", node("a2", "assistant")),
        node("q3", "prompter"),
        rank=0,
    ),
    node("middle", "assistant", rank=1),
)


def flat(tree: dict[str, Any], parent: str | None = None, root: str = "") -> list[dict[str, Any]]:
    root = root or tree["message_id"]
    mine = {key: value for key, value in tree.items() if key != "replies"}
    rows = [{**mine, "parent_id": parent, "message_tree_id": root, "lang": "en"}]
    return rows + [
        row for reply in tree["replies"] for row in flat(reply, tree["message_id"], root)
    ]


def test_each_path_of_a_tree_is_a_conversation(bench: Any) -> None:
    whole = read(bench, {"message_tree_id": "q", "prompt": TREE})
    texts = [[turn["content"].removeprefix("text ") for turn in row["messages"]] for row in whole]
    # The question q3 was never answered; the path to it ends with an answer.
    assert texts == [["q", "worst"], ["q", "best", "q2", "a2"], ["q", "best"], ["q", "middle"]]
    assert [row["id"] for row in whole] == [f"src:0.{n}" for n in range(4)]
    form, why = recognised(bench)
    assert form == "oasst"
    assert "trees of replies" in why
    assert "oasst-pairs" in why
    other = {**flat(TREE)[0], "message_id": "z", "message_tree_id": "z"}
    answer = {**other, "message_id": "y", "parent_id": "z", "role": "assistant"}
    rows = read(bench, *flat(TREE), other, answer)
    assert [
        [turn["content"].removeprefix("text ") for turn in row["messages"]] for row in rows[:4]
    ] == texts
    assert [(row["id"], row["line"]) for row in rows[3:]] == [("src:0.3", 1), ("src:1.0", 8)]
    assert "parent_id" in recognised(bench)[1]


def test_ranked_replies_make_a_pair(bench: Any) -> None:
    (pair,) = read(bench, {"prompt": TREE}, format="oasst-pairs")
    assert (pair["kind"], pair["prompt"]) == ("preference", "text q")
    assert said(pair["chosen"]) == [("assistant", "text best")]
    assert said(pair["rejected"]) == [("assistant", "text worst")]
    rows = [{"prompt": node("q", "prompter", node("a", "assistant"))}, {"prompt": TREE}]
    assert len(read(bench, *rows, format="oasst-pairs")) == 1
    rejects = pq.read_table(bench.folder / "ingested" / "src" / "rejects.parquet").to_pylist()
    assert [row["reason"] for row in rejects] == ["a tree without ranked answers"]


def test_a_message_whose_parent_is_elsewhere(bench: Any) -> None:
    rows = flat(TREE)
    with pytest.raises(DataError, match=r"rows.jsonl:1: as oasst: the parent best of q2"):
        read(bench, *(row for row in rows if row["message_id"] != "best"))


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({"role": "prompter", "text": "a", "replies": ["x"]}, "replies must be a list of messages"),
        ({"role": "wizard", "text": "a", "replies": []}, "unknown role 'wizard'"),
    ],
)
def test_trees_that_are_broken(bench: Any, root: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(bench, {"prompt": root})


def test_a_tree_deeper_than_any_conversation(bench: Any) -> None:
    tree = node("last", "assistant")
    for n in range(450):
        tree = node(f"n{n}", ("prompter", "assistant")[n % 2], tree)
    with pytest.raises(DataError, match="a tree deeper than 400 messages"):
        read(bench, {"prompt": tree})


FOUR = [{"model": "m", "response": f"answer {n}", "overall_score": n} for n in (5, 9.5, 1)]


@pytest.mark.parametrize(
    ("row", "scores", "why"),
    [
        ({"instruction": "Hi", "models": ["m"], "completions": FOUR}, (9.5, 1.0), "its score"),
        (
            {"prompt": "Hi", "responses": ["answer 1", "answer 9.5"], "scores": [1, 9.5]},
            (9.5, 1.0),
            "its score",
        ),
        (
            {
                "prompt": "Hi",
                "generations": ["answer 1", "answer 9.5", "x"],
                "rating": ["1", "9.5", "N/A"],
            },
            (9.5, 1.0),
            "its score",
        ),
        (
            {
                "prompt": "Hi",
                "answers": [{"answer": "answer 9.5", "rank": 1}, {"answer": "answer 1", "rank": 7}],
            },
            (1.0, 7.0),
            "its rank",
        ),
    ],
)
def test_ratings_pair_the_best_with_the_worst(
    bench: Any, row: dict[str, Any], scores: tuple[float, float], why: str
) -> None:
    (pair,) = read(bench, row)
    assert (pair["kind"], pair["prompt"]) == ("preference", "Hi")
    assert said(pair["chosen"]) == [("assistant", "answer 9.5")]
    assert said(pair["rejected"]) == [("assistant", "answer 1")]
    meta = json.loads(pair["meta"])
    assert (meta["score_chosen"], meta["score_rejected"]) == scores
    assert recognised(bench)[0] == "ratings"
    assert why in recognised(bench)[1]


def test_answers_rated_alike_are_counted_and_no_error(bench: Any) -> None:
    alike = {"prompt": "Hi", "responses": ["a", "b"], "scores": [3, 3]}
    good = {"prompt": "Hi", "responses": ["a", "b"], "scores": [3, 4]}
    assert len(read(bench, alike, good)) == 1
    bench.curate({"src": bench.folder / "ingested" / "src"})
    assert bench.dropped()["src:0"]["reason"].endswith("2 answers of one score: no pair in them")
    with pytest.raises(DataError, match="2 responses but 1 scores"):
        read(bench, good, {**good, "scores": [1]})


def test_pairs_as_judged_answers(bench: Any) -> None:
    row = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}
    good, bad = read(bench, row, {"prompt": "x", "chosen": "a", "rejected": "b"}, pairs="unpaired")[
        :2
    ]
    assert [(r["id"], r["kind"], r["label"]) for r in (good, bad)] == [
        ("src:0.0", "unpaired", True),
        ("src:0.1", "unpaired", False),
    ]
    assert said(good["messages"]) == TALK
    assert (bad["prompt"], bad["completion"], bad["rejected"]) == ("Hi", "Go", [])
    assert [r["kind"] for r in read(bench, row)] == ["preference"]
    assert SourceBase().pairs == "paired"


def test_an_openai_fine_tuning_row(bench: Any) -> None:
    def call(name: str, city: str) -> dict[str, Any]:
        function = {"name": "weather", "arguments": json.dumps({"city": city})}
        return {"id": name, "type": "function", "function": function}

    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    calls = [call("c1", "Rome"), call("c2", "Oslo")]
    (found,) = read(
        bench,
        {
            "messages": [
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": text} for text in ("Be ", "brief.")],
                },
                {"role": "user", "content": "Rome or Oslo?"},
                {"role": "assistant", "tool_calls": calls, "weight": 0},
                {"role": "tool", "tool_call_id": "c1", "content": "21"},
                {"role": "tool", "tool_call_id": "c2", "content": "4"},
                {"role": "assistant", "content": "Rome.", "weight": 1},
            ],
            "tools": tools,
            "parallel_tool_calls": True,
        },
    )
    assert recognised(bench)[0] == "messages"
    assert [turn["weight"] for turn in found["messages"]] == [1, 1, 0, 1, 1, 1]
    assert [turn["tool_call_id"] for turn in found["messages"]] == ["", "", "", "c1", "c2", ""]
    made = json.loads(found["messages"][2]["tool_calls"])
    assert [(one["id"], one["function"]["arguments"]) for one in made] == [
        ("c1", {"city": "Rome"}),
        ("c2", {"city": "Oslo"}),
    ]
    assert (found["system"], found["completion"]) == ("Be brief.", "Rome.")
    assert json.loads(found["tools"]) == tools
    assert json.loads(found["meta"]) == {"parallel_tool_calls": True}


def test_parts_that_are_no_text(bench: Any) -> None:
    part = {"type": "image_url", "image_url": {"url": "x"}}
    with pytest.raises(DataError, match="a content part of type 'image_url' is not text"):
        read(bench, {"messages": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize(
    ("row", "both"),
    [
        ({"text": CHATML, "prompt": "a", "completion": "b"}, ("completion", "chatml")),
        ({"instruction": "a", "response": "b", "text": "c"}, ("text", "dolly")),
        (
            {"prompt": "a", "response": "b", "responses": ["a", "b"], "scores": [1, 2]},
            ("completion", "ratings"),
        ),
    ],
)
def test_two_that_fit(bench: Any, row: Any, both: tuple[str, str]) -> None:
    with pytest.raises(DataError) as caught:
        read(bench, row)
    assert all(f"{name} (" in caught.value.message for name in both)
