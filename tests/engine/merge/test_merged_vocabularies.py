"""One tokenizer for models of different vocabularies: ids kept, every row from its own token."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import AdapterInput, Merge, ModelInput
from tuneforge_specs.vocabulary import MergeTokenizer

from tuneforge.merge.adapter import read_adapter
from tuneforge.merge.describe import plan_lines, plan_values
from tuneforge.merge.execute import merge_into, plan_from
from tuneforge.merge.lora import pieces_for
from tuneforge.merge.mergekit.convert import spec_from
from tuneforge.merge.model import open_model
from tuneforge.merge.resolve import input_folder
from tuneforge.merge.sources import Source
from tuneforge.merge.vocabulary.plan import align
from tuneforge.weights import open_weights

TEXTS = ["the model merges the tokens", "a token is a row of the table", "tables of models"]
WIDTH = 4
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def trained(texts: list[str], added: list[AddedToken]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([t for t in added if t.special])
    tokenizer.add_tokens([t for t in added if not t.special])
    return tokenizer


def special(text: str) -> AddedToken:
    return AddedToken(text, special=True, normalized=False)


class Zoo:
    """Model folders, and what is in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict[str, dict[str, np.ndarray]] = {}
        self.ids: dict[str, dict[str, int]] = {}

    def add(
        self, name: str, tokenizer: Tokenizer, seed: int, padding: int = 0, **config: Any
    ) -> None:
        folder = self.root / name
        folder.mkdir()
        rows = tokenizer.get_vocab_size() + padding
        generator = np.random.default_rng(seed)
        shapes = {EMBEDDING: (rows, WIDTH), HEAD: (rows, WIDTH), "model.norm.weight": (WIDTH,)}
        tensors = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
        save_file(tensors, folder / "model.safetensors")
        settings = {"model_type": "llama", "vocab_size": rows, "dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(settings | config))
        tokenizer.save(str(folder / "tokenizer.json"))
        self.rows[name], self.ids[name] = tensors, tokenizer.get_vocab()

    def merge(self, inputs: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
        tables = [{**entry, "model": str(self.root / entry["model"])} for entry in inputs]
        parsed = TypeAdapter(Merge).validate_python({"inputs": tables, **spec}, by_alias=True)
        out = self.root / "out"
        out.mkdir()
        report = merge_into(
            out, base=self.root / "base", base_facts={}, base_dtype="auto", spec=parsed,
            inputs=[input_folder(entry, Path(entry.model)) for entry in parsed.inputs],
            seed=0, threads=2, progress=lambda done, total: None,
        )  # fmt: skip
        self.result = load_file(out / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        self.config = json.loads((out / "config.json").read_text())
        return report

    def row(self, name: str, token: str, tensor: str = EMBEDDING) -> np.ndarray:
        return self.rows[name][tensor][self.ids[name][token]].astype(np.float64)


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    """A base, a chat model with two marks of its own, and one whose ids are all others."""
    found = Zoo(tmp_path)
    found.add("base", trained(TEXTS, [special("<s>")]), 0, padding=3, eos_token_id=0)
    chat = trained(TEXTS, [special("<s>"), special("<|im_start|>"), AddedToken("<think>")])
    found.add("chat", chat, 1, eos_token_id=99)
    other = trained(["the zebra quizzes the tokens", *TEXTS], [special("<|im_end|>")])
    found.add("other", other, 2)
    return found


MARKS = ["<|im_start|>", "<think>", "<|im_end|>"]


def test_union_keeps_the_bases_ids_and_adds_the_others_marks(zoo: Zoo) -> None:
    report = zoo.merge(
        [{"model": "chat", "weight": 0.5}, {"model": "other", "weight": 0.25}],
        method="task_arithmetic", tokenizer={"plain": "leave", "pad_to_multiple": 16},
    )  # fmt: skip
    old = Tokenizer.from_file(str(zoo.root / "base" / "tokenizer.json"))
    for text in [*TEXTS, "<s>the zebra quizzes", "entirely new words, with  spaces"]:
        assert zoo.tokenizer.encode(text).ids == old.encode(text).ids
    ids = [zoo.tokenizer.token_to_id(mark) for mark in MARKS]
    end = len(zoo.ids["base"])
    assert ids == [end, end + 1, end + 2]
    assert zoo.tokenizer.encode("a<|im_start|>").ids[-1] == ids[0]
    assert zoo.tokenizer.decode([ids[0]], skip_special_tokens=True) == ""
    rows = zoo.result[EMBEDDING].shape[0]
    assert rows % 16 == 0
    assert rows >= end + 3
    assert zoo.config["vocab_size"] == rows == report["vocabulary"]["rows"]
    assert report["vocabulary"]["new"] == {
        "<|im_start|>": "chat", "<think>": "chat", "<|im_end|>": "other"
    }  # fmt: skip
    assert report["vocabulary"]["left_out"] == len(set(zoo.ids["other"]) - set(zoo.ids["base"])) - 1


@pytest.mark.parametrize("tensor", [EMBEDDING, HEAD])
@pytest.mark.parametrize("plain", ["leave", "add"])
def test_every_row_is_merged_with_its_own_token(zoo: Zoo, tensor: str, plain: str) -> None:
    zoo.merge(
        [{"model": "chat", "weight": 0.5}, {"model": "other", "weight": 0.25}],
        method="task_arithmetic", tokenizer={"plain": plain},
    )  # fmt: skip
    if plain == "add":
        assert set(zoo.tokenizer.get_vocab()) == {t for ids in zoo.ids.values() for t in ids}
    for token, index in zoo.tokenizer.get_vocab().items():
        holders = [name for name in ("base", "chat", "other") if token in zoo.ids[name]]
        base = zoo.row(holders[0], token, tensor)
        expected = base.copy()
        for name, weight in (("chat", 0.5), ("other", 0.25)):
            mine = zoo.row(name, token, tensor) if name in holders else base
            expected += weight * (mine - base)
        assert np.allclose(zoo.result[tensor][index], expected, atol=2e-6), token


def test_a_union_of_plain_tokens_is_refused_unless_it_is_said_what_becomes_of_them(
    zoo: Zoo,
) -> None:
    lacking = set(zoo.ids["other"]) - set(zoo.ids["base"]) - {"<|im_end|>"}
    with pytest.raises(DataError, match=f"other has another vocabulary: {len(lacking)} of") as said:
        zoo.merge([{"model": "other"}], method="linear", tokenizer="union")
    assert '"leave"' in said.value.fix
    assert not list((zoo.root / "out").iterdir())


def test_plain_is_for_a_union_only() -> None:
    with pytest.raises(ValueError, match="the tokens are those of base"):
        MergeTokenizer(source="base", plain="add")


def test_added_plain_tokens_are_found_in_texts(zoo: Zoo) -> None:
    report = zoo.merge([{"model": "other"}], method="linear", tokenizer={"plain": "add"})
    assert report["vocabulary"]["left_out"] == 0
    token = max(set(zoo.ids["other"]) - set(zoo.ids["base"]) - {"<|im_end|>"}, key=len)
    assert zoo.tokenizer.token_to_id(token) in zoo.tokenizer.encode(f"a {token}").ids
    row = zoo.result[EMBEDDING][zoo.tokenizer.token_to_id(token)]
    assert np.allclose(row, zoo.row("other", token))
    assert report["vocabulary"]["new"][token] == "other"


def test_the_base_and_an_inputs_tokenizer(zoo: Zoo) -> None:
    zoo.merge([{"model": "other"}], method="linear", tokenizer="base")
    assert zoo.tokenizer.get_vocab() == zoo.ids["base"]
    assert len(zoo.result[EMBEDDING]) == len(zoo.ids["base"]) + 3
    the = zoo.ids["base"]["the"]
    assert np.allclose(zoo.result[EMBEDDING][the], zoo.row("other", "the"))
    lacking = next(token for token in zoo.ids["base"] if token not in zoo.ids["other"])
    assert np.allclose(zoo.result[HEAD][zoo.ids["base"][lacking]], zoo.row("base", lacking, HEAD))


def test_an_inputs_tokenizer_brings_its_special_ids(zoo: Zoo) -> None:
    (zoo.root / "chat" / "generation_config.json").write_text('{"eos_token_id": 99}')
    zoo.merge([{"model": "chat"}], method="linear", tokenizer="chat")
    assert zoo.tokenizer.get_vocab() == zoo.ids["chat"]
    assert np.array_equal(zoo.result[EMBEDDING], zoo.rows["chat"][EMBEDDING])
    assert zoo.config["eos_token_id"] == 99
    generation = json.loads((zoo.root / "out" / "generation_config.json").read_text())
    assert generation == {"eos_token_id": 99}


def test_single_tokens_from_where_the_spec_says(zoo: Zoo) -> None:
    tokens = {
        "<|im_start|>": {"source": "other", "token": "<|im_end|>"},
        "the": {"source": "other", "force": True},
        "<|im_end|>": {"source": "base", "token": "<s>"},
    }
    report = zoo.merge(
        [{"model": "chat", "weight": 0.5}], method="task_arithmetic", tokenizer="union"
    )
    assert "<|im_end|>" not in report["vocabulary"]["new"]
    (zoo.root / "out").rename(zoo.root / "before")
    zoo.merge(
        [{"model": "chat", "weight": 0.5}, {"model": "other", "weight": 0.0}],
        method="task_arithmetic", tokenizer={"tokens": tokens, "plain": "leave"},
    )  # fmt: skip
    start, the, end = (zoo.tokenizer.token_to_id(t) for t in ("<|im_start|>", "the", "<|im_end|>"))
    stranger, own = zoo.row("other", "<|im_end|>"), zoo.row("chat", "<|im_start|>")
    assert np.allclose(zoo.result[EMBEDDING][start], stranger + 0.5 * (own - stranger), atol=2e-6)
    assert np.allclose(zoo.result[EMBEDDING][the], zoo.row("other", "the"), atol=2e-6)
    assert np.allclose(zoo.result[EMBEDDING][end], zoo.row("base", "<s>"), atol=2e-6)


def test_a_token_that_no_model_has_gets_the_mean(zoo: Zoo) -> None:
    tokenizer = Tokenizer.from_file(str(zoo.root / "chat" / "tokenizer.json"))
    tokenizer.add_special_tokens([special("<new>")])
    tokenizer.save(str(zoo.root / "chat" / "tokenizer.json"))
    report = zoo.merge([{"model": "chat"}], method="linear", tokenizer="union")
    assert report["vocabulary"]["new"]["<new>"] == "mean"
    row = zoo.result[EMBEDDING][zoo.tokenizer.token_to_id("<new>")]
    assert np.allclose(row, zoo.rows["base"][EMBEDDING].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, r'another vocabulary(?s:.*)tokenizer = "union"'),
        ({"tokenizer": "chatt"}, r"'chatt' is no input(?s:.*)`chat`"),
        ({"tokenizer": {"tokens": {"<x>": {"source": "chat"}}}}, "'<x>' is no token"),
        ({"tokenizer": {"tokens": {"the": {"source": "x"}}}}, "'x' is no model"),
        ({"tokenizer": {"tokens": {"the": {"source": "chat", "token": "q"}}}}, "no token 'q'"),
    ],
)
def test_what_is_refused(zoo: Zoo, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        zoo.merge([{"model": "chat"}], method="linear", **spec)
    assert not list((zoo.root / "out").iterdir())


def test_equal_shapes_with_other_tokens_are_refused_too(zoo: Zoo) -> None:
    zoo.add("twin", trained([text[::-1] for text in TEXTS], []), 3)
    short = len(zoo.ids["base"]) + 3 - len(zoo.ids["twin"])
    folder = zoo.root / "twin"
    for file in (folder / "model.safetensors", folder / "config.json", folder / "tokenizer.json"):
        file.unlink()
    folder.rmdir()
    zoo.add("twin", trained([text[::-1] for text in TEXTS], []), 3, padding=short)
    assert open_weights(folder)[EMBEDDING].shape == open_weights(zoo.root / "base")[EMBEDDING].shape
    with pytest.raises(DataError, match=r"id \d+ is '.+' in base and '.+' in twin"):
        zoo.merge([{"model": "twin"}], method="linear")


def test_without_tokenizer_json_vocabularies_cannot_be_aligned(zoo: Zoo) -> None:
    (zoo.root / "chat" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"no tokenizer\.json(?s:.*)fast tokenizer"):
        zoo.merge([{"model": "chat"}], method="linear", tokenizer="union")


def test_settings_and_template_go_with_the_union(zoo: Zoo) -> None:
    settings = {"bos_token": "<s>", "added_tokens_decoder": {"1": {"content": "<s>"}}}
    (zoo.root / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
    (zoo.root / "base" / "vocab.json").write_text("{}")
    (zoo.root / "chat" / "chat_template.jinja").write_text("chat's template")
    zoo.merge([{"model": "chat"}], method="linear", tokenizer="union")
    written = json.loads((zoo.root / "out" / "tokenizer_config.json").read_text())
    assert written["bos_token"] == "<s>"
    start = str(zoo.tokenizer.token_to_id("<|im_start|>"))
    assert written["added_tokens_decoder"][start] == {
        "content": "<|im_start|>", "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip
    assert not (zoo.root / "out" / "vocab.json").exists()
    assert (zoo.root / "out" / "chat_template.jinja").read_text() == "chat's template"


def test_an_adapter_of_embeddings_cannot_be_aligned(zoo: Zoo) -> None:
    adapter = zoo.root / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1})
    )
    rows = len(zoo.rows["base"][HEAD])
    factors = {"A": np.ones((1, WIDTH), np.float32), "B": np.ones((rows, 1), np.float32)}
    save_file(
        {f"base_model.model.lm_head.lora_{part}.weight": v for part, v in factors.items()},
        adapter / "adapter_model.safetensors",
    )
    base = open_model(zoo.root / "base")
    source = Source("a", pieces=pieces_for(base, read_adapter(adapter)))
    with pytest.raises(DataError, match=r"a: adapts lm_head\.weight"):
        align(base, [source], MergeTokenizer(source="base"))


def test_the_plan_says_how_many_tokens_are_new(zoo: Zoo) -> None:
    parsed = TypeAdapter(Merge).validate_python(
        {"method": "linear", "tokenizer": "union", "inputs": [{"model": str(zoo.root / "chat")}]}
    )
    inputs = [input_folder(entry, Path(entry.model)) for entry in parsed.inputs]
    plan = plan_from(zoo.root / "base", {}, "auto", parsed, inputs, 0)
    rows = len(zoo.ids["base"]) + 3
    assert f"  tokens  union: {rows} rows, 2 of tokens new to the base" in plan_lines(plan, 1)
    assert plan_values(plan, 1)["vocabulary"]["new"]["<think>"] == "chat"


def test_a_hub_models_label_is_its_name_not_its_commit() -> None:
    snapshot = Path("hub/snapshots/0123abc")
    assert input_folder(ModelInput(model="acme/chat"), snapshot).label == "chat"
    assert input_folder(AdapterInput(adapter="acme/lora"), snapshot).label == "lora"
    assert input_folder(ModelInput(model="."), snapshot).label == "0123abc"


def test_mergekits_keys() -> None:
    config: dict[str, Any] = {
        "merge_method": "linear", "models": [{"model": "m/a"}, {"model": "m/b"}]
    }  # fmt: skip
    spec = spec_from(config | {"tokenizer_source": "union"}, "x")
    assert spec["merge"]["merged"]["tokenizer"] == {"source": "union", "plain": "add"}
    table = {
        "source": "m/b",
        "pad_to_multiple_of": 64,
        "tokens": {
            "<e>": {"source": "m/a", "force": True},
            "<f>": {"source": {"kind": "model_token", "model": "m/b", "token": "<g>"}},
        },
    }
    assert spec_from(config | {"tokenizer": table}, "x")["merge"]["merged"]["tokenizer"] == {
        "source": "b",
        "pad_to_multiple": 64,
        "tokens": {
            "<e>": {"source": "base", "force": True},
            "<f>": {"source": "b", "token": "<g>"},
        },
    }
