"""Vocabularies: llama.cpp's tokenizers, replayed from the file, cut text as the source does."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf import pretokenizers
from tuneforge.export.gguf.special import general_name
from tuneforge.export.gguf.vocabulary import vocabulary_of
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.probes import TEXTS, texts_for
from tuneforge.export.verify.replay import Replay
from tuneforge.export.verify.vocabulary import excused
from tuneforge.worker.gguf_model import read_metadata

SPLITS = {
    "llama-bpe": pretokenizers.LLAMA3,
    "dbrx": pretokenizers.LLAMA3,
    "qwen2": pretokenizers.QWEN2,
    "tekken": pretokenizers.TEKKEN,
    "gpt-4o": pretokenizers.GPT4O,
}


def with_split(tokenizer, name):
    changed = copy.deepcopy(tokenizer)
    rule = pretokenizers.PRE_TOKENIZERS[name]
    changed["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": SPLITS[name]},
                "behavior": "Isolated",
                "invert": False,
            },
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": False,
            },
        ],
    }
    changed["model"]["ignore_merges"] = rule.whole_words
    return changed


def assert_replayed(folder, file, texts):
    source = Tokenizer.from_file(str(folder / "tokenizer.json"))
    replay = Replay(read_metadata(file))
    for text in texts:
        expected = source.encode(text, add_special_tokens=False).ids
        assert replay.encode(text) == expected, text


def test_gpt2_splitting(tiny, write_gguf_file):
    folder = tiny.write()
    assert_replayed(folder, write_gguf_file(folder), texts_for(ModelFolder(folder)))


@pytest.mark.parametrize("name", SPLITS)
def test_named_splitting(tiny, write_gguf_file, byte_level, name):
    folder = tiny.write(tokenizer=with_split(byte_level, name))
    file = write_gguf_file(folder)
    assert read_metadata(file)["tokenizer.ggml.pre"] == name
    assert_replayed(folder, file, texts_for(ModelFolder(folder)))


def test_digits_splitting(tiny, write_gguf_file, byte_level):
    tokenizer = copy.deepcopy(byte_level)
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            tokenizer["pre_tokenizer"],
        ],
    }
    folder = tiny.write(tokenizer=tokenizer)
    file = write_gguf_file(folder)
    assert read_metadata(file)["tokenizer.ggml.pre"] == "smollm"
    assert_replayed(folder, file, TEXTS)


def test_sentencepiece(tiny, write_gguf_file, sentencepiece):
    folder = tiny.write(
        tokenizer=sentencepiece,
        tokenizer_config={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        bos_token_id=1,
    )
    file = write_gguf_file(folder)
    metadata = read_metadata(file)
    assert metadata["tokenizer.ggml.model"] == "llama"
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.add_space_prefix"] is True
    assert metadata["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert_replayed(folder, file, texts_for(ModelFolder(folder)))


def test_sentencepiece_without_prefix(tiny, write_gguf_file, sentencepiece):
    tokenizer = copy.deepcopy(sentencepiece)
    tokenizer["normalizer"] = tokenizer["normalizer"]["normalizers"][1]  # Gemma's
    folder = tiny.write(tokenizer=tokenizer, tokenizer_config={"eos_token": "</s>"})
    file = write_gguf_file(folder)
    assert read_metadata(file)["tokenizer.ggml.add_space_prefix"] is False
    assert_replayed(folder, file, TEXTS)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_cut_alike(text, tmp_path_factory, byte_level, sentencepiece):
    for tokenizer in (byte_level, sentencepiece):
        import json

        source = Tokenizer.from_str(json.dumps(tokenizer))
        folder = (
            tmp_path_factory.getbasetemp() / tokenizer["model"].get("unk_token", "bpe").__str__()
        )
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
        made = vocabulary_of(ModelFolder(folder), 600)
        keys = {
            "tokenizer.ggml.model": made.model,
            "tokenizer.ggml.pre": made.pre,
            "tokenizer.ggml.tokens": list(made.tokens),
            "tokenizer.ggml.token_type": list(made.types),
            "tokenizer.ggml.merges": list(made.merges),
            "tokenizer.ggml.scores": list(made.scores),
            "tokenizer.ggml.add_space_prefix": made.space_prefix,
        }
        expected = source.encode(text, add_special_tokens=False).ids
        assert Replay(keys).encode(text) == expected


def test_added_tokens_and_padding(tiny, write_gguf_file, byte_level):
    tokenizer = copy.deepcopy(byte_level)
    size = len(tokenizer["model"]["vocab"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append(
        {"id": size + 2, "content": "<tool>", "special": False, **plain}
    )
    folder = tiny.write(tokenizer=tokenizer)
    metadata = read_metadata(write_gguf_file(folder))
    assert metadata["tokenizer.ggml.tokens"][-3:] == [f"[PAD{size}]", f"[PAD{size + 1}]", "<tool>"]
    assert metadata["tokenizer.ggml.token_type"][-3:] == [5, 5, 4]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "WordPiece"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
        ({"pre_tokenizer": None}, "no pre-tokenizer"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
    ],
)
def test_unknown_tokenizers_are_refused_by_name(tiny, write_gguf_file, byte_level, change, named):
    folder = tiny.write(tokenizer=byte_level)
    import json

    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | change), "utf-8")
    with pytest.raises(UsageError, match=named):
        write_gguf_file(folder)


def test_larger_vocabulary_than_embedding_is_refused(tiny, byte_level):
    folder = tiny.write(tokenizer=byte_level)
    with pytest.raises(UsageError, match="100 rows"):
        vocabulary_of(ModelFolder(folder), 100)


def test_whitespace_after_special_tokens(tiny, write_gguf_file, sentencepiece):
    """Phi-3 drops it; llama.cpp does so for models named Phi-3, so the file is named so."""
    tokenizer = copy.deepcopy(sentencepiece)
    size = len(tokenizer["model"]["vocab"])
    for number, content in enumerate(["<|endoftext|>", "<|user|>", "<|end|>"]):
        tokenizer["added_tokens"].append(
            {
                "id": size + number,
                "content": content,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": content != "<|endoftext|>",
                "normalized": False,
            }
        )
    tokenizer["added_tokens"][2]["rstrip"] = True  # </s>
    folder = tiny.write(tokenizer=tokenizer, tokenizer_config={"eos_token": "<|end|>"})
    texts = texts_for(ModelFolder(folder))
    assert any("<|user|>\n" in text for text in texts)
    assert set(excused(texts, ModelFolder(folder), "llama")) == {t for t in texts if "</s>" in t}
    assert excused(texts, ModelFolder(folder), "phi3") == {}
    metadata = read_metadata(write_gguf_file(folder))
    name = general_name("phi3", ModelFolder(folder), "tiny")
    assert name == "tiny (phi-3)"
    source = Tokenizer.from_file(str(folder / "tokenizer.json"))
    replay = Replay(metadata | {"general.name": name})
    for text in texts:
        assert replay.encode(text) == source.encode(text, add_special_tokens=False).ids, text
